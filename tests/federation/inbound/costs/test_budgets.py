"""Requests to DynamoDB for receiving another server's event in a room of 10,000 members."""

from __future__ import annotations

import json
from typing import Any

import pytest

from murmuration.federation.inbound.transactions import working
from murmuration.protocol.identifiers import UserId
from murmuration.settings import settings
from tests.budgets.meter import Meter, Spent
from tests.federation.peers import Peer, Worker, share_room
from tests.in_process import Client
from tests.rooms.large_rooms import fill
from tests.rooms.other_servers import Mirror

ATTEMPTS = 3
"""On a busy machine requests made at once may miss each other; the least counted is what was asked for."""


@pytest.fixture(autouse=True)
def _limits_on(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn on rate limits, as in a deployment."""
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()


@pytest.fixture
def mirror(alice: Client, peer: Peer) -> Mirror:
    """Return a large room whose workers are warm: a message of the peer's came a moment ago."""
    made = share_room(alice, peer)
    fill(made.room_id, 10_000)
    take(peer, made.message(UserId(f"@bob:{peer.name}"), "warm"))
    return made


def take(peer: Peer, event: Any) -> Spent:
    """Return the worker's costs of one event."""
    message = {"origin": peer.name, "room_id": peer.room.room_id, "pdus": [event.pdu]}
    with Meter() as meter:
        counts = working.work(json.loads(json.dumps(message)))
    assert counts == {"accepted": 1}
    return meter.spent


def within(spent: Spent, trips: int, reads: float, writes: float) -> bool:
    return spent.round_trips <= trips and spent.read_units <= reads and spent.write_units <= writes


def test_message(peer: Peer, mirror: Mirror) -> None:
    bob = UserId(f"@bob:{peer.name}")
    tried = []
    for number in range(ATTEMPTS):
        tried.append(take(peer, mirror.message(bob, f"m{number}")))
        if within(tried[-1], 5, 12, 8):
            return
    pytest.fail("\n".join(map(str, tried)))


def test_change_of_a_member(peer: Peer, mirror: Mirror) -> None:
    tried = []
    for number in range(ATTEMPTS):
        joining = UserId(f"@new{number}:{peer.name}")
        tried.append(take(peer, mirror.member(joining, joining, "join")))
        if within(tried[-1], 8, 25, 20):
            return
    pytest.fail("\n".join(map(str, tried)))


def test_what_is_known_costs_reads_alone(peer: Peer, mirror: Mirror) -> None:
    event = mirror.message(UserId(f"@bob:{peer.name}"), "twice")
    take(peer, event)
    message = {"origin": peer.name, "room_id": mirror.room_id, "pdus": [event.pdu]}
    with Meter() as meter:
        assert working.work(message) == {"accepted": 1}
    assert meter.spent.write_units == 0
    assert meter.spent.read_units <= 13


def test_transaction(peer: Peer, mirror: Mirror, worker: Worker) -> None:
    """Receiving a transaction costs reading the room's head and taking from the server's limit."""
    peer.send(mirror.message(UserId(f"@bob:{peer.name}"), "warm"))
    event = mirror.message(UserId(f"@bob:{peer.name}"), "hello")
    with Meter() as meter:
        assert peer.send(event).status == 200
    assert (meter.spent.round_trips, meter.spent.write_units) == (2, 1), str(meter.spent)
    assert meter.spent.read_units <= 3, str(meter.spent)
