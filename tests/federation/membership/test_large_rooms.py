"""A join of a large room of another server has bounded costs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.room import Room
from operators.costs.prices import PRICES
from tests.budgets import meter
from tests.budgets.meter import Meter, Spent
from tests.federation.hosting import Host, HostedRoom
from tests.in_process import Client
from tests.rooms.people import ok


def large_room(host: Host, members: int) -> HostedRoom:
    room = host.room("11")
    for number in range(members):
        room.member(UserId(f"@user-{number}-of-many:{host.remote.name}"), "join")
    return room


def dollars(spent: Spent) -> float:
    reads = PRICES["dynamodb_reads"].of(spent.read_units, free_tier=False)
    return reads + PRICES["dynamodb_writes"].of(spent.write_units, free_tier=False)


def of_a_minute() -> float:
    """Return what the worker costs if a join takes it a minute, at 2 GB."""
    return PRICES["lambda_gb_seconds"].of(2 * 60, free_tier=False)


def join(alice: Client, room: HostedRoom, host: Host) -> Spent:
    with Meter() as counted:
        path = f"/_matrix/client/v3/join/{room.room_id}"
        ok(alice.post(path, {}, via=host.remote.name))
    return counted.spent


@pytest.mark.parametrize("members", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_what_a_join_takes(
    alice: Client, host: Host, jobs: list[Any], monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    """For 10,000 members it costs $0.04: about 10,000 parallel writes and 430 transactions one after the
    other.

    These take 20 seconds if each takes 10 to 20 ms, and the processor has 16 seconds of work meanwhile.
    """
    monkeypatch.setattr(meter, "LATENCY_S", 0.0)
    room = large_room(host, members)
    spent = join(alice, room, host)
    counts = Counter(one.operation for one in spent.requests)
    assert counts["PutItem"] <= members + 20
    assert counts["TransactWriteItems"] <= members / 24 + 20
    assert sum(counts.values()) - counts["PutItem"] <= members / 15 + 50, counts
    assert dollars(spent) <= 0.05 * members / 10_000, spent.write_units
    assert dollars(spent) + of_a_minute() <= 0.10
    assert Counter(host.asked) == {"unstable/rooms": 1, "v1/make_join": 1, "v2/send_join": 1}
    assert len(jobs) == 1
    assert Room.load(RoomId(room.room_id)).head.joined == members + 2
