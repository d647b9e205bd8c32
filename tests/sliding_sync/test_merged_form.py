"""The form in which MSC4186 was accepted: other names and places, the same things."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.identifiers import DeviceId, UserId
from tests.in_process import Client, segment
from tests.logged_in import log_in
from tests.rooms.people import create_room, invite, ok, path, refused, send
from tests.sliding_sync.client import MERGED, PATH, bodies

Make = Callable[..., Client]
EVERYTHING = {"include": [{}], "lazy_members": True}


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


@pytest.mark.parametrize("route", [MERGED, PATH])
def test_pages_go_on_from_a_pos(alice: Client, route: str) -> None:
    room_id = create_room(alice)
    root = send(alice, room_id, "a")
    pos = ask(alice, route)["pos"]
    reply = {"msgtype": "m.text", "body": "b", "m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    send(alice, room_id, reply)
    where = path(room_id, "messages")
    back, forth = (ok(alice.get(where, **{"from": pos, "dir": each}))["chunk"] for each in "bf")
    assert back[0]["content"]["body"] == "a"
    assert [event["content"]["body"] for event in forth] == ["b"]
    relations = f"/_matrix/client/v1/rooms/{segment(room_id)}/relations/{segment(root)}"
    assert ok(alice.get(relations, **{"from": pos, "dir": "b"}))["chunk"] == []
    assert len(ok(alice.get(relations, **{"from": pos, "dir": "f"}))["chunk"]) == 1
    refused(alice.get(where, **{"from": f"{pos[:-1]}~", "dir": "b"}), 400, "M_INVALID_PARAM")
    refused(alice.get(where, **{"from": f"{pos[:4]}{'x' * 12}", "dir": "b"}), 400, "M_INVALID_PARAM")
    refused(
        log_in(UserId(alice.user_id), DeviceId("OTHER")).get(where, **{"from": pos, "dir": "b"}),
        400,
        "M_INVALID_PARAM",
    )
    unseen = create_room(alice)
    refused(alice.get(path(unseen, "messages"), **{"from": pos, "dir": "b"}), 400, "M_INVALID_PARAM")


def test_the_accepted_form_has_smaller_limits(alice: Client) -> None:
    config = {"timeline_limit": 1, "required_state": {}}
    many = {f"!{number}:example.org": config for number in range(101)}
    refused(alice.post(MERGED, {"room_subscriptions": many}), 400, "M_INVALID_PARAM")
    ok(alice.post(PATH, {"room_subscriptions": many}))
    refused(alice.post(MERGED, {"lists": {"two words": listed()}}), 400, "M_INVALID_PARAM")


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
