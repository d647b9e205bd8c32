"""Alice and Bob, and a room in which both are."""

from __future__ import annotations

from tests.rooms.conftest import room_id

__all__ = ["room_id"]
