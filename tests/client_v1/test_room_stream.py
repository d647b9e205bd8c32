"""GET /events of one room: of a room that anyone may read, and by a room's own tokens."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, event_ids, join, leave, ok, refused, send, set_state

Make = Callable[..., Client]
OLD = "/_matrix/client/api/v1"
BASES = pytest.mark.parametrize("base", [V3, OLD])


def events(client: Client, base: str, room_id: str, **query: Any) -> Any:
    return ok(client.get(f"{base}/events", room_id=room_id, **query))


def initial_sync(client: Client, base: str, room_id: str) -> Any:
    return ok(client.get(f"{base}/rooms/{segment(room_id)}/initialSync", limit=2))


def readable(alice: Client, visibility: str = "world_readable") -> str:
    room_id = create_room(alice, preset="public_chat")
    set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": visibility})
    return room_id


@BASES
def test_anyone_follows_a_world_readable_room(alice: Client, make_client: Make, base: str) -> None:
    room_id, guest = readable(alice), make_client("guest")
    now = events(guest, base, room_id)
    assert now["chunk"] == []
    first, second = send(alice, room_id, "one"), send(alice, room_id, "two")
    page = events(guest, base, room_id, **{"from": now["end"]})
    assert event_ids(page["chunk"]) == [first, second]
    assert {event["room_id"] for event in page["chunk"]} == {room_id}
    assert page["start"] == now["end"]
    again = events(guest, base, room_id, **{"from": now["end"]})
    assert event_ids(again["chunk"]) == [first, second]
    assert events(guest, base, room_id, **{"from": page["end"]})["chunk"] == []


@BASES
@pytest.mark.parametrize("member", [False, True])
def test_the_tokens_of_a_rooms_initial_sync(
    alice: Client, make_client: Make, base: str, member: bool
) -> None:
    room_id, client = readable(alice), make_client("client")
    if member:
        join(client, room_id)
    sent = [send(alice, room_id, str(number)) for number in range(3)]
    window = initial_sync(client, base, room_id)["messages"]
    assert event_ids(events(client, base, room_id, **{"from": window["start"]})["chunk"]) == sent[1:]
    last = send(alice, room_id, "last")
    assert event_ids(events(client, base, room_id, **{"from": window["end"]})["chunk"]) == [last]


@BASES
def test_the_stream_waits_for_an_event(alice: Client, make_client: Make, base: str) -> None:
    room_id, guest = readable(alice), make_client("guest")
    start = events(guest, base, room_id)["end"]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(events, guest, base, room_id, timeout=10_000, **{"from": start})
        sent = send(alice, room_id)
        assert event_ids(waiting.result()["chunk"]) == [sent]


@BASES
@pytest.mark.parametrize("visibility", ["shared", "invited", "joined"])
def test_a_private_room_is_refused(alice: Client, make_client: Make, base: str, visibility: str) -> None:
    room_id, guest, former = readable(alice, visibility), make_client("guest"), make_client("former")
    join(former, room_id)
    leave(former, room_id)
    for client in (guest, former):
        for query in ({}, {"from": "t1"}):
            refused(client.get(f"{base}/events", room_id=room_id, **query), 403, "M_FORBIDDEN")
    refused(guest.get(f"{base}/events", room_id="!unknown:example.org"), 403, "M_FORBIDDEN")


def test_what_was_hidden_before_stays_so(alice: Client, make_client: Make) -> None:
    room_id, guest = create_room(alice, preset="public_chat"), make_client("guest")
    hidden = send(alice, room_id)
    set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "world_readable"})
    shown = send(alice, room_id)
    found = event_ids(events(guest, V3, room_id, **{"from": "t0"})["chunk"])
    assert shown in found
    assert hidden not in found


@BASES
def test_bad_tokens(alice: Client, make_client: Make, base: str) -> None:
    room_id, guest = readable(alice), make_client("guest")
    for text in ("nonsense", "s_unknowntoken"):
        answer = guest.get(f"{base}/events", room_id=room_id, **{"from": text})
        refused(answer, 400, "M_BAD_PAGINATION")
    stream_token = ok(guest.get(f"{V3}/sync"))["next_batch"]
    assert events(guest, base, room_id, **{"from": stream_token})["chunk"] == []
