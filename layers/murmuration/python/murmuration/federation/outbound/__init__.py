"""Sending events to other servers.

The Streams worker of the room log orders it (`ordering`). Workers send new events to many servers at once
(`fan_out`), and what a server didn't get to it alone, when it is there again (`catching_up`).
`docs/federation.md` tells of the way and of its races.
"""
