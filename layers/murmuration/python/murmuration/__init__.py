"""Murmuration: a Matrix homeserver made of small functions."""
