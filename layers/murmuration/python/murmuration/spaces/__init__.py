"""Spaces: the tree of rooms below a room. `rooms.reading.summaries` decides who may know of a room."""
