"""/initialSync as today's specification still has it: everything of the user's, to begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, join, leave, ok, path, send

MakeClient = Callable[..., Client]


@pytest.fixture
def alice(make_client: MakeClient) -> Client:
    return make_client("alice")


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
