"""/initialSync as today's specification still has it: everything of the user's, to begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from murmuration.aws import calls
from murmuration.aws.calls import Call, Proceed
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms import current_state, room
from murmuration.storage.rooms import snapshots
from murmuration.storage.users import memberships
from murmuration.sync import answer
from murmuration.sync.assembly import rooms as sections
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, join, leave, ok, path, send, set_state

MakeClient = Callable[..., Client]


def keep(client: Client, where: str, content: dict[str, Any]) -> None:
    ok(client.put(f"{V3}/user/{segment(client.user_id)}/{where}", content))


def rooms_of(client: Client, **query: Any) -> dict[str, Any]:
    found = ok(client.get(f"{V3}/initialSync", **query))["rooms"]
    return {room["room_id"]: room for room in found}


def by_type(events: list[dict[str, Any]]) -> dict[str, Any]:
    return {event["type"]: event["content"] for event in events}


def test_account_data_and_tags_come_with_it(alice: Client) -> None:
    room_id = create_room(alice)
    keep(alice, "account_data/org.example.colour", {"shade": 3})
    keep(alice, f"rooms/{segment(room_id)}/account_data/org.example.room", {"n": 1})
    keep(alice, f"rooms/{segment(room_id)}/tags/u.work", {"order": 0.5})
    data = by_type(ok(alice.get(f"{V3}/initialSync"))["account_data"])
    assert data["org.example.colour"] == {"shade": 3}
    assert "m.push_rules" in data
    assert "org.example.room" not in data
    expected = {"org.example.room": {"n": 1}, "m.tag": {"tags": {"u.work": {"order": 0.5}}}}
    assert by_type(rooms_of(alice)[room_id]["account_data"]) == expected
    assert by_type(ok(alice.get(path(room_id, "initialSync")))["account_data"]) == expected


def test_rooms_that_were_left_come_if_asked_for(alice: Client, make_client: MakeClient) -> None:
    bob = make_client("bob")
    stayed, left, banned = (create_room(alice, preset="public_chat") for _ in range(3))
    for room_id in (stayed, left, banned):
        join(bob, room_id)
    event_id = send(alice, left)
    leave(bob, left)
    ok(alice.post(path(banned, "ban"), {"user_id": bob.user_id}))
    later = send(alice, left)
    assert set(rooms_of(bob)) == set(rooms_of(bob, archived="false")) == {stayed}
    found = rooms_of(bob, archived="true")
    assert {room_id: room["membership"] for room_id, room in found.items()} == {
        stayed: "join",
        left: "leave",
        banned: "ban",
    }
    shown = [event["event_id"] for event in found[left]["messages"]["chunk"]]
    assert event_id in shown
    assert later not in shown


@pytest.fixture
def counted() -> Iterator[list[str]]:
    """Yield the tables of all requests, with empty caches."""
    tables: list[str] = []

    def count(call: Call, proceed: Proceed) -> Any:
        if call.service == "dynamodb":
            tables.append(f"{call.operation} {call.parameters.get('TableName', '')}")
        return proceed(call)

    for known in (current_state._remembered, room._states, snapshots._nodes):
        known.clear()
    calls.intercept(count)
    yield tables
    calls.release(count)


def leave_some(alice: Client, bob: Client, count: int) -> list[str]:
    """Make rooms that bob has left and whose state has changed since."""
    room_ids = [create_room(alice, preset="public_chat", name="Before") for _ in range(count)]
    for room_id in room_ids:
        join(bob, room_id)
        leave(bob, room_id)
        set_state(alice, room_id, "m.room.name", {"name": "After"})
    return room_ids


def test_more_rooms_that_were_left_cost_two_requests_each(
    alice: Client, make_client: MakeClient, counted: list[str]
) -> None:
    found = []
    for count in (2, 6):
        bob = make_client(f"bob{count}")
        room_ids = leave_some(alice, bob, count)
        for known in (current_state._remembered, room._states, snapshots._nodes):
            known.clear()
        counted.clear()
        rooms = rooms_of(bob, archived="true")
        found.append(len(counted))
        names = [by_type(rooms[room_id]["state"])["m.room.name"] for room_id in room_ids]
        assert names == [{"name": "Before"}] * count
    assert found[1] - found[0] == 2 * 4, "the log and the state of each room, and all else together"


def test_rooms_that_do_not_fit_are_only_named(
    alice: Client, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = make_client("bob")
    left = leave_some(alice, bob, 3)
    stayed = [create_room(bob, topic="x" * 2_000) for _ in range(2)]
    monkeypatch.setattr(answer, "ALL_ROOMS_BYTES", 12_000)
    body = ok(bob.get(f"{V3}/initialSync", archived="true"))
    rooms = {each["room_id"]: each for each in body["rooms"]}
    assert {name: each["membership"] for name, each in rooms.items()} == {
        **dict.fromkeys(left, "leave"),
        **dict.fromkeys(stayed, "join"),
    }
    whole = [name for name, each in rooms.items() if "messages" in each]
    assert 0 < len(whole) < len(rooms)
    assert {name for name, each in rooms.items() if "state" in each} == set(whole)
    event_id = send(bob, stayed[1])
    chunk = ok(bob.get(f"{V3}/events", **{"from": body["end"], "timeout": 0}))["chunk"]
    assert [event["event_id"] for event in chunk if event["type"] == "m.room.message"] == [event_id]
    assert not [event for event in chunk if event["type"] == "m.room.create"], "nothing comes a second time"


def test_rooms_that_are_not_made_in_time_are_only_named(
    alice: Client, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = make_client("bob")
    left = leave_some(alice, bob, 3)
    stayed = create_room(bob)
    monkeypatch.setattr(answer, "MAKING_S", -1)
    monkeypatch.setattr(sections, "ROOMS_AT_ONCE", 1)
    rooms = rooms_of(bob, archived="true")
    assert [name for name, each in rooms.items() if "messages" in each] == [stayed]
    assert {rooms[room_id]["membership"] for room_id in left} == {"leave"}


def test_ones_own_presence_comes_with_it(alice: Client) -> None:
    ok(
        alice.put(
            f"{V3}/presence/{segment(alice.user_id)}/status", {"presence": "online", "status_msg": "Hi"}
        )
    )
    room_id = create_room(alice)
    for where in (f"{V3}/initialSync", path(room_id, "initialSync")):
        (event,) = ok(alice.get(where))["presence"]
        assert (event["type"], event["content"]["user_id"]) == ("m.presence", alice.user_id)
        assert (event["content"]["presence"], event["content"]["status_msg"]) == ("online", "Hi")


def test_a_limit_of_0_gives_no_events(alice: Client) -> None:
    room_id = create_room(alice)
    messages = rooms_of(alice, limit=0)[room_id]["messages"]
    assert messages["chunk"] == []
    onward = ok(alice.get(path(room_id, "messages"), **{"from": messages["start"], "dir": "b", "limit": "1"}))
    assert len(onward["chunk"]) == 1


def test_an_invite_is_an_event_with_its_id(alice: Client, make_client: MakeClient) -> None:
    bob = make_client("bob")
    room_id = create_room(alice, invite=[bob.user_id])
    (invited,) = [room for room in ok(bob.get(f"{V3}/initialSync"))["rooms"] if room["room_id"] == room_id]
    event = invited["invite"]
    assert (invited["inviter"], event["content"]["membership"]) == (alice.user_id, "invite")
    row = memberships.read_membership(UserId(bob.user_id), RoomId(room_id))
    assert row is not None
    assert event["event_id"] == row.event_id
