"""Transactions of other servers: taken and queued at once, worked through room by room."""
