"""Rooms: creating and changing them, their members, and reading them."""
