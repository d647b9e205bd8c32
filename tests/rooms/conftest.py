"""Alice and Bob, and a room in which both are."""

from __future__ import annotations

import pytest

from tests.in_process import Client
from tests.rooms.delayed import Time
from tests.rooms.people import create_room, join


@pytest.fixture
def room_id(alice: Client, bob: Client) -> str:
    """Return a public room of Alice's that Bob has joined."""
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    return room_id


@pytest.fixture
def time(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Time:
    """Return the clock of delayed events."""
    return Time(monkeypatch)
