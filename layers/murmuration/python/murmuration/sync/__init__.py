"""Sync: what a client has seen, what it has yet to see, and how it waits for more."""
