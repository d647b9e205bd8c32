"""Sync: what a client has seen, what is new to it, and how it waits for more."""
