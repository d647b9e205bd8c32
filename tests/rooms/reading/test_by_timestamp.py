"""Finding the event closest to a point in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.rooms.writing import append
from tests.in_process import Client
from tests.rooms.people import V1, create_room, join, leave, ok, path, refused, send

MakeClient = Callable[..., Client]


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the time of the events that are sent next."""

    def set_time(now: int) -> None:
        monkeypatch.setattr(append, "now_ms", lambda: now)

    return set_time


def closest(client: Client, room_id: str, ts: Any, direction: str) -> Any:
    return client.get(path(room_id, "timestamp_to_event", version=V1), ts=ts, dir=direction)


@pytest.mark.parametrize("count", [3, 90])
def test_closest_event(alice: Client, times: Callable[[int], None], count: int) -> None:
    times(1000)
    room_id = create_room(alice)
    sent = []
    for number in range(count):
        times(2000 + 10 * number)
        sent.append(send(alice, room_id))
    for number in range(0, count, max(1, count // 7)):
        at = 2000 + 10 * number
        for ts, direction in ((at, "f"), (at, "b"), (at - 5, "f"), (at + 5, "b")):
            found = ok(closest(alice, room_id, ts, direction))
            assert found == {"event_id": sent[number], "origin_server_ts": at}
    assert ok(closest(alice, room_id, 10**9, "b"))["event_id"] == sent[-1]
    assert ok(closest(alice, room_id, 0, "f"))["origin_server_ts"] == 1000
    refused(closest(alice, room_id, 10**9, "f"), 404, "M_NOT_FOUND")
    refused(closest(alice, room_id, 999, "b"), 404, "M_NOT_FOUND")


def test_events_out_of_order_are_found(alice: Client, times: Callable[[int], None]) -> None:
    times(1000)
    room_id = create_room(alice)
    for ts in (5000, 3000, 6000):
        times(ts)
        send(alice, room_id)
    assert ok(closest(alice, room_id, 2000, "f"))["origin_server_ts"] == 3000
    assert ok(closest(alice, room_id, 4000, "b"))["origin_server_ts"] == 3000
    assert ok(closest(alice, room_id, 4000, "f"))["origin_server_ts"] == 5000


@pytest.mark.parametrize("count", [20, 120, 450])
def test_hidden_events_are_not_found(
    alice: Client, times: Callable[[int], None], make_client: MakeClient, count: int
) -> None:
    times(1000)
    visibility = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
    room_id, bob = create_room(alice, preset="public_chat", initial_state=[visibility]), make_client("bob")
    for ts in range(2000, 2000 + count):
        times(ts)
        send(alice, room_id)
    times(3000)
    join(bob, room_id)
    assert ok(closest(bob, room_id, 1500, "f"))["origin_server_ts"] == 3000
    assert ok(closest(bob, room_id, 2999, "b"))["origin_server_ts"] == 1000
    times(4000)
    leave(bob, room_id)
    times(5000)
    send(alice, room_id)
    assert ok(closest(bob, room_id, 9000, "b"))["origin_server_ts"] == 4000


def test_errors(alice: Client, make_client: MakeClient) -> None:
    room_id = create_room(alice)
    where = path(room_id, "timestamp_to_event", version=V1)
    refused(alice.get(where, dir="f"), 400, "M_MISSING_PARAM")
    refused(alice.get(where, ts=1), 400, "M_MISSING_PARAM")
    for query in ({"ts": "x", "dir": "f"}, {"ts": "-1", "dir": "f"}, {"ts": 1, "dir": "x"}):
        refused(alice.get(where, **query), 400, "M_INVALID_PARAM")
    refused(closest(make_client("eve"), room_id, 1, "f"), 403, "M_FORBIDDEN")
