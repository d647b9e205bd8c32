"""Gaps in a room's log: clients see that something is missing, and it gets its place when it is found."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any
from unittest import mock

import pytest

from murmuration.federation.inbound.backfilling import backfill
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.room import Room
from murmuration.rooms.writing.gaps import Places
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.event_store import Follower
from tests.in_process import Client
from tests.rooms.other_servers import Mirror, current_state, log_ids
from tests.rooms.people import V3, bodies, join, leave, messages, ok, path, send, set_state
from tests.rooms.receiving.test_receiving import BOB, CAROL, EVE, head, open_room


def missed(alice: Client, version: str = "12") -> tuple[Mirror, list[Event]]:
    """Return m1 to m4 of Bob's. Our server has m1 and m4."""
    mirror = open_room(alice, version)
    said = [mirror.message(BOB, f"m{number}") for number in range(1, 5)]
    mirror.hidden.update(event.event_id for event in said[1:3])
    assert mirror.kinds(said[0], said[3]) == ["accepted"] * 2
    return mirror, said


def section(client: Client, room_id: str, **query: Any) -> tuple[dict[str, Any], str]:
    answer = ok(client.get(f"{V3}/sync", **query))
    return answer["rooms"].get("join", {}).get(room_id, {}), answer["next_batch"]


def said_in(timeline: dict[str, Any]) -> list[str]:
    return [it["content"]["body"] for it in timeline["events"] if it["type"] == "m.room.message"]


@pytest.mark.parametrize("version", ["1", "12"])
def test_gap_is_shown_and_filled(alice: Client, version: str) -> None:
    mirror = open_room(alice, version)
    _, since = section(alice, mirror.room_id)
    said = [mirror.message(BOB, f"m{number}") for number in range(1, 5)]
    mirror.hidden.update(event.event_id for event in said[1:3])
    mirror.send(said[0], said[3])
    room, _ = section(alice, mirror.room_id, since=since)
    assert (said_in(room["timeline"]), room["timeline"]["limited"]) == (["m4"], True)
    gap = room["timeline"]["prev_batch"]
    fresh, after = section(alice, mirror.room_id)
    assert (said_in(fresh["timeline"]), fresh["timeline"]["limited"]) == (["m4"], True)
    back = path(mirror.room_id, "messages")
    assert bodies(ok(alice.get(back, dir="b", **{"from": gap}))["chunk"]) == ["m1"]
    mirror.hidden.discard(said[2].event_id)
    assert [it.kind for it in backfill(RoomId(mirror.room_id), [said[2].pdu], mirror)] == ["accepted"]
    assert bodies(messages(alice, mirror.room_id)["chunk"]) == ["m4", "m3", "m1"]
    assert mirror.kinds(said[1]) == ["accepted"]
    assert bodies(messages(alice, mirror.room_id)["chunk"]) == ["m4", "m3", "m2", "m1"]
    forward = ok(alice.get(path(mirror.room_id, "messages"), dir="f", limit=100))["chunk"]
    assert bodies(forward) == ["m1", "m2", "m3", "m4"]
    behind = ok(alice.get(path(mirror.room_id, "messages"), dir="b", **{"from": gap}))["chunk"]
    assert bodies(behind) == ["m3", "m2", "m1"]
    # Nothing of it comes as new, and nothing counts as unread.
    answer = ok(alice.get(f"{V3}/sync", since=after))
    assert "rooms" not in answer or mirror.room_id not in answer["rooms"].get("join", {})
    again, _ = section(alice, mirror.room_id, since=since)
    assert (said_in(again["timeline"]), again["timeline"]["limited"]) == (["m4"], True)
    assert again["unread_notifications"]["notification_count"] == 2, "m1 and m4"
    assert head(mirror).extremities == (said[3].event_id,), "m1 isn't newest any more"
    context = ok(alice.get(path(mirror.room_id, "context", said[2].event_id), limit=2))
    assert bodies(context["events_before"] + context["events_after"]) == ["m2", "m4"]
    send(alice, mirror.room_id, "and on")
    room, _ = section(alice, mirror.room_id, since=after)
    assert (said_in(room["timeline"]), room["timeline"]["limited"]) == (["and on"], False)


def test_late_event_between_two_that_were_filled_in(alice: Client) -> None:
    """A branch of the missing past comes last. It still gets a place between its neighbours."""
    mirror = open_room(alice)
    first = mirror.message(BOB, "1")
    left = mirror.message(BOB, "left", after=first)
    right = mirror.message(BOB, "right", after=first)
    end = mirror.message(BOB, "end", after=[left, right])
    mirror.hidden.update(it.event_id for it in (left, right))
    mirror.send(first, end)
    assert len(backfill(RoomId(mirror.room_id), [left.pdu], mirror)) == 1
    assert mirror.kinds(right) == ["accepted"]
    assert set(log_ids(mirror.room_id)[-3:-1]) == {left.event_id, right.event_id}
    assert log_ids(mirror.room_id)[-1] == end.event_id


def test_state_of_the_gap_is_that_of_the_graph(alice: Client) -> None:
    mirror = open_room(alice, admins=(BOB,))
    lost = [
        mirror.topic(BOB, "unheard"),
        mirror.member(EVE, EVE, "join"),
        mirror.message(UserId(EVE), "from eve"),
    ]
    heard = mirror.message(UserId(EVE), "heard")
    mirror.hidden.update(event.event_id for event in lost)
    assert mirror.kinds(heard) == ["accepted"]
    assert mirror.asked[-2:] == ["state_ids_before", "state_events 1"], "only what is unknown is fetched"
    state = current_state(mirror.room_id)
    _, since = section(alice, mirror.room_id)
    assert len(backfill(RoomId(mirror.room_id), [event.pdu for event in lost], mirror)) == 3
    assert current_state(mirror.room_id) == state
    topic = ok(alice.get(path(mirror.room_id, "state", "m.room.topic")))
    assert topic == {"topic": "unheard"}
    context = ok(alice.get(path(mirror.room_id, "context", lost[2].event_id), limit=0))
    members = [it["state_key"] for it in context["state"] if it["type"] == "m.room.member"]
    assert EVE in members
    set_state(alice, mirror.room_id, "m.room.name", {"name": "named"})
    room, _ = section(alice, mirror.room_id, since=since)
    assert [it["type"] for it in room["timeline"]["events"]] == ["m.room.name"]
    assert room["state"]["events"] == []


def test_time_and_redaction_find_their_way_across_gaps(alice: Client) -> None:
    mirror, said = missed(alice)
    assert len(backfill(RoomId(mirror.room_id), [event.pdu for event in said[1:3]], mirror)) == 2
    for event in (said[0], said[3]):
        found = ok(
            alice.get(
                f"/_matrix/client/v1/rooms/{mirror.room_id}/timestamp_to_event",
                ts=event.origin_server_ts,
                dir="f",
            )
        )
        assert found["event_id"] == event.event_id
    first = set_state(alice, mirror.room_id, "m.room.topic", {"topic": "first"})
    mirror.catch_up()
    unheard = mirror.message(BOB, "unheard")
    heard = mirror.message(BOB, "heard")
    mirror.hidden.add(unheard.event_id)
    mirror.send(heard)
    set_state(alice, mirror.room_id, "m.room.topic", {"topic": "second"})
    assert first


class TestPlaces:
    def test_what_comes_between_finds_room_for_long(self, alice: Client) -> None:
        mirror, said = missed(alice)
        end = Room.load(RoomId(mirror.room_id)).head.ordinal
        places = Places(RoomId(mirror.room_id))
        last = Follower(end, end)
        taken = [end]
        for _ in range(2_000):
            ordinal = places.before(last)
            assert ordinal is not None
            last = Follower(ordinal, end)
            taken.append(ordinal)
        between = []
        while (ordinal := places.before(Follower(end, end))) is not None:
            between.append(ordinal)
        assert len(between) >= 9
        assert len({*taken, *between}) == len(taken) + len(between)
        assert all(taken[1] < ordinal < end for ordinal in between)
        assert said

    def test_it_is_bounded_how_many_gaps_there_are(self, alice: Client, monkeypatch: Any) -> None:
        from murmuration.rooms.writing import changes

        mirror = open_room(alice)
        monkeypatch.setattr(changes, "GAPS_UNTIL", head(mirror).ordinal)
        said = [mirror.message(BOB, str(number)) for number in range(3)]
        mirror.hidden.add(said[1].event_id)
        before = head(mirror).ordinal
        mirror.send(said[0], said[2])
        assert head(mirror).ordinal == before + 2


def test_visibility_goes_by_the_state_at_the_event(alice: Client, bob: Client) -> None:
    """An event from before a join isn't shown, even if it arrives later; an event from after it is."""
    mirror = open_room(alice)
    set_state(alice, mirror.room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    mirror.catch_up()
    base = mirror.newest()
    join(bob, mirror.room_id)
    mirror.catch_up()
    joined = mirror.newest()
    before = mirror.message(BOB, "before the join", after=base)
    after = mirror.message(BOB, "after the join", after=joined)
    carol = mirror.member(CAROL, CAROL, "join", after=base)
    late = mirror.message(BOB, "both", after=[after, carol])
    assert mirror.kinds(before, after, carol, late) == ["accepted"] * 4
    assert bodies(messages(bob, mirror.room_id)["chunk"]) == ["both", "after the join"]
    assert set(bodies(messages(alice, mirror.room_id)["chunk"])) == {
        "both",
        "after the join",
        "before the join",
    }
    room, _ = section(bob, mirror.room_id)
    assert said_in(room["timeline"]) == ["after the join", "both"]


def test_nobody_is_woken_by_the_past(alice: Client) -> None:
    from murmuration.delivery import wakes

    told: list[object] = []

    def note(targets: Iterable[object], **_: object) -> frozenset[str]:
        told.extend(targets)
        return frozenset()

    item = {"room_id": "!r:example.org", "state_root": b"x", "member": alice.user_id, "filled_below": 7}
    with mock.patch.object(wakes, "wake", note):
        wakes.wake_for_log_entries([item])
    assert told == []


def test_log_is_dense_but_for_gaps(alice: Client) -> None:
    mirror, _ = missed(alice)
    log_ids(mirror.room_id)
    entries = room_items.read_log(RoomId(mirror.room_id), mirror.version)
    gaps = [after for before, after in itertools.pairwise(entries) if after.ordinal > before.ordinal + 1]
    assert [entry.after_gap for entry in gaps] == [True]


@pytest.mark.parametrize("limit", [0, 10])
def test_state_at_a_leaving_before_a_gap(
    alice: Client, make_client: Callable[..., Client], limit: int
) -> None:
    mirror = open_room(alice)
    dora = make_client("dora")
    set_state(alice, mirror.room_id, "m.room.name", {"name": "Before"})
    join(dora, mirror.room_id)
    leave(dora, mirror.room_id)
    mirror.catch_up()
    said = [mirror.message(BOB, f"m{number}") for number in range(1, 4)]
    mirror.hidden.update(event.event_id for event in said[:2])
    assert mirror.kinds(said[2]) == ["accepted"]
    set_state(alice, mirror.room_id, "m.room.name", {"name": "After"})
    wanted = json.dumps({"room": {"include_leave": True, "timeline": {"limit": limit}}})
    rooms = ok(dora.get(f"{V3}/sync", filter=wanted, use_state_after="true"))["rooms"]["leave"]
    state = {event["type"]: event["content"] for event in rooms[mirror.room_id]["state_after"]["events"]}
    assert state["m.room.name"] == {"name": "Before"}
