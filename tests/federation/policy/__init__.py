"""Rooms with a policy server."""
