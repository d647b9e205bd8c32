"""Room versions 1 and 2: a server chooses an event ID that exists in another room."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.federation.inbound import acls
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
from murmuration.rooms.room import Room
from murmuration.storage.rooms import event_places, event_store, room_removal
from tests.in_process import Client, segment
from tests.rooms.other_servers import OTHER, Mirror
from tests.rooms.people import create_room, ok, path

EVE = UserId(f"@eve:{OTHER}")


def room_with_eve(alice: Client, version: str = "1") -> Mirror:
    mirror = Mirror(RoomId(create_room(alice, room_version=version, preset="public_chat")))
    assert mirror.kinds(mirror.member(EVE, EVE, "join")) == ["accepted"]
    return mirror


@pytest.mark.parametrize("version", ["1", "2"])
def test_each_room_keeps_its_own(alice: Client, fresh_name: str, version: str) -> None:
    rooms = [room_with_eve(alice, version) for _ in range(2)]
    taken = f"$taken-{fresh_name}:{OTHER}"
    for number, mirror in enumerate(rooms):
        event = mirror.message(EVE, f"in room {number}", event_id=taken)
        assert mirror.kinds(event, mirror.message(EVE, f"after it {number}")) == ["accepted", "accepted"]
    for number, mirror in enumerate(rooms):
        shown = ok(alice.get(path(mirror.room_id, "event", taken)))
        assert (shown["room_id"], shown["content"]["body"]) == (mirror.room_id, f"in room {number}")
        page = ok(alice.get(f"{path(mirror.room_id, 'messages')}?dir=b&limit=2"))
        assert [it["content"]["body"] for it in page["chunk"]] == [f"after it {number}", f"in room {number}"]


def test_one_room_s_membership_says_nothing_about_another_s(alice: Client, fresh_name: str) -> None:
    """Eve is banned from one room. An event with the same ID in another room lets her join."""
    rooms = [room_with_eve(alice, "1") for _ in range(2)]
    taken = f"$member-{fresh_name}:{OTHER}"
    joined = rooms[0].member(EVE, EVE, "join", event_id=taken)
    left = rooms[1].member(EVE, EVE, "leave", event_id=taken)
    assert rooms[0].kinds(joined) == rooms[1].kinds(left) == ["accepted"]
    assert Room.load(RoomId(rooms[0].room_id)).membership(EVE) == "join"
    assert Room.load(RoomId(rooms[1].room_id)).membership(EVE) == "leave"
    assert rooms[0].kinds(rooms[0].message(EVE, "here")) == ["accepted"]
    assert rooms[1].kinds(rooms[1].message(EVE, "here")) == ["rejected"]


def test_one_room_s_acl_is_not_another_s(alice: Client, fresh_name: str) -> None:
    taken = f"$acl-{fresh_name}:{OTHER}"
    found = []
    for allowed in (["*"], ["example.org"]):
        mirror = room_with_eve(alice, "1")
        levels: dict[str, Any] = {"users": {alice.user_id: 100, EVE: 100}}
        ok(alice.put(path(mirror.room_id, "state", "m.room.power_levels", ""), levels))
        mirror.catch_up()
        acl = mirror.state(EVE, "m.room.server_acl", {"allow": allowed}, event_id=taken)
        assert mirror.kinds(acl) == ["accepted"]
        found.append(acls.is_allowed(Room.load(RoomId(mirror.room_id)), ServerName("third.example")))
    assert found == [True, False]


def test_an_outlier_of_another_room_authorises_nothing(alice: Client, fresh_name: str) -> None:
    """An event outside the log is found and deleted only in its own room."""
    rooms = [room_with_eve(alice, "1") for _ in range(2)]
    taken = EventId(f"$soft-{fresh_name}:{OTHER}")
    ok(alice.post(path(rooms[0].room_id, "ban"), {"user_id": EVE}))
    late = rooms[0].message(EVE, "too late", event_id=taken)
    assert rooms[0].kinds(late) == ["soft_failed"]
    assert event_store.read([taken], rooms[1].version, RoomId(rooms[1].room_id)) == {}
    assert rooms[1].kinds(rooms[1].message(EVE, "in time", event_id=taken)) == ["accepted"]
    assert event_store.read([taken], rooms[0].version, RoomId(rooms[0].room_id))[taken].kind == "soft_failed"
    for remove in (room_removal.remove_kept_events, room_removal.remove_log):
        list(remove(rooms[0].room_id))
    assert event_places.locate([taken], RoomId(rooms[0].room_id)) == {}
    assert event_places.read_room_of(taken) == rooms[1].room_id
    shown = ok(alice.get(path(rooms[1].room_id, "event", taken)))
    assert shown["content"]["body"] == "in time"


def test_an_event_is_found_without_its_room(alice: Client, fresh_name: str) -> None:
    mirror = room_with_eve(alice, "1")
    event = mirror.message(EVE, "found", event_id=f"$found-{fresh_name}:{OTHER}")
    assert mirror.kinds(event) == ["accepted"]
    found = ok(alice.get(f"/_matrix/client/r0/events/{segment(event.event_id)}"))
    assert (found["room_id"], found["content"]["body"]) == (mirror.room_id, "found")
