"""Inputs shared by both implementations: plain data, importable without Synapse and without Murmuration."""
