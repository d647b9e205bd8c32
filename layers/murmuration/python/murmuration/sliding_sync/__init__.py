"""Simplified sliding sync (MSC4186): a client sees a part of its list of rooms. Rooms are read as for
/sync.
"""
