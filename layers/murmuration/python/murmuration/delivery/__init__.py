"""Delivery: telling those who wait that something has happened."""
