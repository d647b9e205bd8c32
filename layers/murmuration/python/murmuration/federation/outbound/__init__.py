"""Sending events to other servers.

The Streams worker of the room log queues the events (`ordering`). Workers send new events to many servers at
once (`fan_out`). A server that didn't get one gets it later by itself, when it answers again (`catching_up`).
`docs/federation.md` describes the way and its races.
"""
