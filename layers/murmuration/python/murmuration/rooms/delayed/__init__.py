"""Delayed events: scheduling, managing and sending them. https://github.com/matrix-org/matrix-spec-proposals/pull/4140

How events are sent is `rooms.writing`'s.
"""
