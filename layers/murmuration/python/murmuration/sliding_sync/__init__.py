"""Simplified sliding sync (MSC4186): a window on a list of rooms, made of what /sync is made of."""
