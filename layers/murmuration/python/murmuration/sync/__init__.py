"""Sync: the updates that a client hasn't seen, and how it waits for more."""
