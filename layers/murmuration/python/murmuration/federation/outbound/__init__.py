"""Sending events to other servers.

The Streams worker of the room log queues the events (`ordering`). Workers send new events to many servers at
once (`fan_out`). A server that didn't get an event gets it later, separately, once it answers again
(`catching_up`). `docs/federation_events.md` describes the process and its races.
"""
