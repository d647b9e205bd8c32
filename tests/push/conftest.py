from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from murmuration.aws import queues
from murmuration.settings import settings
from tests.in_process import Client
from tests.push.gateway import Gateway, Workers, running
from tests.rooms.people import create_room, invite, join


@pytest.fixture
def gateway(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setenv("MURMURATION_PUSH_PRIVATE_GATEWAYS", "on")
    settings.cache_clear()
    yield from running(Gateway)
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()
    monkeypatch.setattr(queues, "send_each", made.send_each)
    monkeypatch.setattr(queues, "send_later", made.send_later)
    return made


@pytest.fixture
def alice(make_client: Callable[..., Client]) -> Client:
    return make_client("alice")


@pytest.fixture
def bob(make_client: Callable[..., Client]) -> Client:
    return make_client("bob")


@pytest.fixture
def room_id(alice: Client, bob: Client, workers: Workers) -> str:
    """Return a room of Alice and Bob, without anything new for the workers."""
    room = create_room(bob, name="The lounge")
    invite(bob, room, alice)
    join(alice, room)
    workers.run(room)
    return room
