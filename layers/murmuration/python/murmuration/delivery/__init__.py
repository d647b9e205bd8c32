"""Delivery: telling waiting clients that something has happened."""
