"""Delayed events: scheduling, managing and sending them.

`rooms.writing` adds the events to rooms.
https://github.com/matrix-org/matrix-spec-proposals/pull/4140
"""
