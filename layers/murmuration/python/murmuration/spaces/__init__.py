"""Spaces: the tree of rooms below a room. `rooms.reading.summaries` decides who may see a room's summary."""
