"""Transactions of other servers: accepted and queued at once, then processed room by room."""
