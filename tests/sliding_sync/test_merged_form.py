"""The form in which MSC4186 was accepted: other names and places, the same things."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.in_process import Client
from tests.rooms.people import create_room, invite, ok, refused, send
from tests.sliding_sync.client import MERGED, PATH, bodies

Make = Callable[..., Client]
EVERYTHING = {"include": [{}], "lazy_members": True}


@pytest.fixture
def alice(make_client: Make) -> Client:
    return make_client("alice")


def ask(client: Client, path: str = MERGED, **body: Any) -> Any:
    given: dict[str, Any] = {"conn_id": "main", "lists": {"top": listed()}} | body
    return ok(client.post(path, given))


def listed(**more: Any) -> dict[str, Any]:
    return {"range": [0, 9], "timeline_limit": 1, "required_state": EVERYTHING} | more


@pytest.mark.parametrize("path", [MERGED, PATH])
def test_pos_and_timeout_are_in_the_body(alice: Client, path: str) -> None:
    room_id = create_room(alice, name="Lounge")
    first = ask(alice, path)
    section = first["rooms"][room_id]
    assert (section["membership"], section["lists"]) == ("join", ["top"])
    assert not {"notification_count", "highlight_count"} & set(section)
    again = ask(alice, path, pos=first["pos"], timeout=0)
    assert (again["rooms"], again["pos"]) == ({}, first["pos"])
    send(alice, room_id, "news")
    assert bodies(ask(alice, path, pos=first["pos"])["rooms"][room_id]) == ["news"]


def test_more_of_the_timeline(alice: Client) -> None:
    room_id = create_room(alice)
    send(alice, room_id, "a")
    send(alice, room_id, "b")
    pos = ask(alice)["pos"]
    wanted = {room_id: {"timeline_limit": 2, "required_state": {}}}
    section = ask(alice, pos=pos, room_subscriptions=wanted)["rooms"][room_id]
    assert (section["expanded_timeline"], bodies(section)) == (True, ["a", "b"])
    assert "unstable_expanded_timeline" not in section


def test_invites(alice: Client, make_client: Make) -> None:
    bob = make_client("bob")
    room_id = create_room(alice)
    invite(alice, room_id, bob)
    lists = {"top": listed(filters={"is_invited": True}), "rest": listed(filters={"is_invited": False})}
    answer = ask(bob, lists=lists)
    assert {name: each["count"] for name, each in answer["lists"].items()} == {"top": 1, "rest": 0}
    section = answer["rooms"][room_id]
    assert (section["membership"], section["lists"]) == ("invite", ["top"])
    assert any(event["type"] == "m.room.member" for event in section["stripped_state"])
    assert "invite_state" not in section


def test_without_a_range_all_rooms_come(alice: Client) -> None:
    room_ids = {create_room(alice) for _ in range(3)}
    wanted = listed()
    del wanted["range"]
    assert set(ask(alice, lists={"top": wanted})["rooms"]) == room_ids


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"set_presence": "asleep"}, "M_INVALID_PARAM"),
        ({"pos": 1}, "M_BAD_JSON"),
        ({"pos": "nonsense"}, "M_UNKNOWN_POS"),
        ({"timeout": -1}, "M_INVALID_PARAM"),
        ({"lists": {"top": listed(required_state={"include": {}})}}, "M_BAD_JSON"),
        ({"lists": {"top": listed(required_state={"include": [{"type": 1}]})}}, "M_BAD_JSON"),
        ({"lists": {"top": listed(required_state={"lazy_members": 1})}}, "M_BAD_JSON"),
    ],
)
def test_bad_requests(alice: Client, body: Any, errcode: str) -> None:
    refused(alice.post(MERGED, {"conn_id": "main"} | body), 400, errcode)
