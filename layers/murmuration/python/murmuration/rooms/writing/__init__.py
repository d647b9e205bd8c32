"""Writes to a room: events are built, authorised and committed in one transaction.

Events of other servers come through `federation.inbound`.
"""
