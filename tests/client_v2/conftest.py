"""Alice and Bob, and a room in which both are."""

from __future__ import annotations

from tests.rooms.conftest import alice, bob, room_id

__all__ = ["alice", "bob", "room_id"]
