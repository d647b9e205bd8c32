"""Rooms: creating them, who is in them, what is sent and read in them."""
