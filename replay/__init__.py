"""Replays recorded events: calls a function in a world of known items, at a fixed time, and shows the
outcome.

`events_fixtures/README.md` describes the files.
"""
