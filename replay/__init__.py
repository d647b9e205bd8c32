"""Replaying recorded events: a world of known items, a clock that stands still, a function, what came of it.

`events_fixtures/README.md` describes the files.
"""
