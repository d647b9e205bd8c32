"""Spaces: the tree of rooms below a room. Who may know of a room is `rooms.reading.summaries`' to say."""
