"""Rooms: how they are created and changed, who is in them, and how they are read."""
