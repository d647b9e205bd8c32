from __future__ import annotations

import pytest

from murmuration.aws import queues
from tests.in_process import Client
from tests.push.gateway import Workers, gateway
from tests.rooms.people import create_room, invite, join

__all__ = ["gateway"]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()
    monkeypatch.setattr(queues, "send_each", made.send_each)
    monkeypatch.setattr(queues, "send_later", made.send_later)
    return made


@pytest.fixture
def room_id(alice: Client, bob: Client, workers: Workers) -> str:
    """Return a room of Alice and Bob, without anything new for the workers."""
    room = create_room(bob, name="The lounge")
    invite(bob, room, alice)
    join(alice, room)
    workers.run(room)
    return room
