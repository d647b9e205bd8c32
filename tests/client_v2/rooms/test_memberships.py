"""Version 2: rooms shown to those who create or join them, invites, memberships by action IDs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults import Way, fault
from tests.in_process import Client, segment
from tests.rooms.people import (
    bodies,
    create_room,
    event_ids,
    invite,
    join,
    leave,
    messages,
    ok,
    path,
    refused,
    send,
    set_state,
)

V2, V3 = "/_matrix/client/v2", "/_matrix/client/v3"
MakeClient = Callable[..., Client]


def change(client: Client, what: str, room_id: str, other: Client | None = None, **query: Any) -> Any:
    body = {"user_id": other.user_id} if other else {}
    return client.post(path(room_id, what, version=V2), body, **query)


def membership(client: Client, room_id: str, other: Client) -> str:
    return str(ok(client.get(path(room_id, "state", "m.room.member", other.user_id)))["membership"])


def invite_event(alice: Client, room_id: str, other: Client) -> str:
    invite(alice, room_id, other)
    event = ok(alice.get(path(room_id, "state", "m.room.member", other.user_id), format="event"))
    return str(event["event_id"])


@pytest.fixture
def room_id(alice: Client) -> str:
    return create_room(alice, preset="public_chat")


# -- Creating and joining ------------------------------------------------------------------------------------


def test_a_room_is_created_once_for_an_action_id(alice: Client) -> None:
    name = f"cafe-{alice.user_id[1:].partition(':')[0]}"

    def create(_: int) -> str:
        body = {"name": "Café", "room_alias_name": name}
        return str(ok(alice.post(f"{V2}/createRoom", body, action_id="a1"))["room_id"])

    with ThreadPoolExecutor(4) as pool:
        found = {*pool.map(create, range(4)), create(5)}
    assert len(found) == 1
    other = ok(alice.post(f"{V2}/createRoom", {}, action_id="a2"))
    assert other["room_id"] not in found
    assert "response" not in other


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("way", [Way.BEFORE, Way.AFTER])
def test_an_interrupted_creation_goes_on(alice: Client, way: Way, number: int) -> None:
    pieces = [{"type": "x.piece", "state_key": str(n), "content": {"number": n}} for n in range(30)]

    def create(_: int = 0) -> Any:
        return alice.post(f"{V2}/createRoom", {"initial_state": pieces}, action_id="a1")

    with fault(number, way):
        assert create().status == 500
    with ThreadPoolExecutor(4) as pool:
        (room_id,) = {ok(answer)["room_id"] for answer in pool.map(create, range(4))}
    assert ok(alice.get(f"{V3}/joined_rooms")) == {"joined_rooms": [room_id]}
    events = ok(alice.get(path(room_id, "messages"), dir="f", limit=100))["chunk"]
    numbers = [event["content"]["number"] for event in events if event["type"] == "x.piece"]
    assert sorted(numbers) == [*range(30)]


def test_a_created_room_is_shown(alice: Client) -> None:
    body = {"name": "Café", "topic": "tea", "published": True, "response": {"max": 2}}
    answer = ok(alice.post(f"{V2}/createRoom", body))
    shown = answer["response"]
    assert [event["type"] for event in shown["events"]] == ["m.room.name", "m.room.topic"]
    assert shown["members"] == 1
    types = {event["type"] for event in shown["state"]}
    assert {"m.room.create", "m.room.member", "m.room.name", "m.room.join_rules"} <= types
    before = ok(alice.get(path(answer["room_id"], "paginate", version=V2), token=shown["token"], max=1))
    assert before["events"][0]["type"] == "m.room.guest_access"
    visibility = ok(alice.get(f"{V3}/directory/list/room/{segment(answer['room_id'])}"))
    assert visibility == {"visibility": "public"}


def test_a_joined_room_is_shown(alice: Client, bob: Client, room_id: str) -> None:
    for number in range(4):
        send(alice, room_id, str(number))
    answer = ok(bob.post(f"{V2}/join", {"room_id": room_id, "servers": ["x.y"], "response": {"max": 3}}))
    shown = answer["response"]
    assert answer["room_id"] == room_id
    assert bodies(shown["events"]) == ["2", "3"]
    assert shown["events"][-1]["state_key"] == bob.user_id
    assert shown["members"] == 2
    everything = ok(bob.post(f"{V2}/join", {"room_id": room_id, "response": {"max": 100}}))["response"]
    assert "token" not in everything
    nothing = ok(bob.post(f"{V2}/join", {"room_id": room_id, "response": {"max": 0}}))["response"]
    assert nothing["events"] == []
    assert bodies(ok(bob.get(path(room_id, "paginate", version=V2), token=nothing["token"]))["events"])


def test_who_joins_is_shown_who_is_there_and_types(alice: Client, bob: Client, room_id: str) -> None:
    ok(
        alice.put(
            f"{V3}/presence/{segment(alice.user_id)}/status", {"presence": "online", "status_msg": "tea"}
        )
    )
    ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": True, "timeout": 60_000}))
    shown = ok(bob.post(f"{V2}/join", {"room_id": room_id, "response": {}}))["response"]
    assert shown["typing"] == [alice.user_id]
    [presence] = shown["presence"]
    assert (presence["sender"], presence["content"]["status_msg"]) == (alice.user_id, "tea")
    ok(alice.put(f"{V3}/presence/{segment(alice.user_id)}/status", {"presence": "offline"}))
    ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": False}))
    shown = ok(bob.post(f"{V2}/join", {"room_id": room_id, "response": {}}))["response"]
    assert (shown["typing"], shown["presence"]) == ([], [])


def test_joining_by_alias_and_by_invite(alice: Client, bob: Client, make_client: MakeClient) -> None:
    name = f"den-{alice.user_id[1:].partition(':')[0]}"
    room_id = create_room(alice, preset="public_chat", room_alias_name=name)
    assert ok(bob.post(f"{V2}/join", {"alias": f"#{name}:example.org"})) == {"room_id": room_id}
    secret, carol = create_room(alice), make_client("carol")
    event_id = invite_event(alice, secret, carol)
    refused(bob.post(f"{V2}/join", {"invite": event_id}), 404, "M_NOT_FOUND")
    for _ in range(2):
        assert ok(carol.post(f"{V2}/join", {"invite": event_id})) == {"room_id": secret}
    said = send(alice, secret)
    refused(carol.post(f"{V2}/join", {"invite": said}), 404, "M_NOT_FOUND")
    leave(carol, secret)
    refused(carol.post(f"{V2}/join", {"invite": event_id}), 404, "M_NOT_FOUND")
    invite(alice, secret, carol)
    refused(carol.post(f"{V2}/join", {"invite": event_id}), 404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({}, 400, "M_MISSING_PARAM"),
        ({"room_id": "!a:b", "alias": "#a:b"}, 400, "M_BAD_JSON"),
        ({"room_id": 5}, 400, "M_BAD_JSON"),
        ({"room_id": "!a:b", "servers": "x"}, 400, "M_BAD_JSON"),
        ({"room_id": "!a:b", "response": []}, 400, "M_BAD_JSON"),
        ({"room_id": "!a:b", "response": {"max": "x"}}, 400, "M_BAD_JSON"),
        ({"room_id": "!a:example.org"}, 404, "M_NOT_FOUND"),
        ({"alias": "#nothing:example.org"}, 404, "M_NOT_FOUND"),
        ({"invite": "$nothing"}, 404, "M_NOT_FOUND"),
        ({"room_id": f"!{'x' * 3000}"}, 404, "M_NOT_FOUND"),
        ({"alias": f"#{'x' * 3000}:example.org"}, 404, "M_NOT_FOUND"),
        ({"alias": ""}, 400, "M_INVALID_PARAM"),
    ],
)
def test_what_can_not_be_joined(bob: Client, body: Any, status: int, errcode: str) -> None:
    refused(bob.post(f"{V2}/join", body), status, errcode)


# -- Memberships ---------------------------------------------------------------------------------------------


def test_who_invites_is_told_of_the_invited(alice: Client, bob: Client, room_id: str) -> None:
    ok(bob.put(f"{V3}/profile/{segment(bob.user_id)}/displayname", {"displayname": "Bobby"}))
    ok(bob.put(f"{V3}/profile/{segment(bob.user_id)}/avatar_url", {"avatar_url": "mxc://a/b"}))
    answer = ok(change(alice, "invite", room_id, bob, action_id="a1"))
    assert answer == {"displayname": "Bobby", "avatar_url": "mxc://a/b"}
    join(bob, room_id)
    assert ok(change(alice, "invite", room_id, bob, action_id="a1")) == answer
    assert membership(alice, room_id, bob) == "join"
    refused(change(alice, "invite", room_id, bob), 403, "M_FORBIDDEN")


def test_an_action_id_marks_the_event_for_the_client_that_gave_it(
    alice: Client, bob: Client, room_id: str
) -> None:
    join(bob, room_id)
    ok(change(alice, "kick", room_id, bob, action_id="k1"))
    mine, theirs = (messages(each, room_id, limit=1)["chunk"][0] for each in (alice, bob))
    assert mine["unsigned"]["transaction_id"] == "k1"
    assert mine["event_id"] == theirs["event_id"]
    assert "transaction_id" not in theirs["unsigned"]


def test_a_late_repetition_changes_nothing(alice: Client, bob: Client, room_id: str) -> None:
    join(bob, room_id)
    ok(change(alice, "kick", room_id, bob, action_id="k1"))
    ok(change(alice, "kick", room_id, bob, action_id="k1"))
    refused(change(alice, "kick", room_id, bob, action_id="k2"), 403, "M_FORBIDDEN")
    join(bob, room_id)
    ok(change(alice, "kick", room_id, bob, action_id="k1"))
    assert membership(alice, room_id, bob) == "join"
    ok(change(alice, "ban", room_id, bob, action_id="b1"))
    ok(change(alice, "unban", room_id, bob, action_id="u1"))
    ok(change(alice, "ban", room_id, bob, action_id="b1"))
    ok(change(alice, "unban", room_id, bob, action_id="u1"))
    assert membership(alice, room_id, bob) == "leave"
    join(bob, room_id)
    ok(change(bob, "leave", room_id, action_id="l1"))
    join(bob, room_id)
    ok(change(bob, "leave", room_id, action_id="l1"))
    assert membership(alice, room_id, bob) == "join"


def test_the_same_change_at_once_is_one(alice: Client, bob: Client, room_id: str) -> None:
    join(bob, room_id)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: ok(change(alice, "kick", room_id, bob, action_id="k1")), range(6)))
    kicks = [
        event
        for event in messages(alice, room_id)["chunk"]
        if event.get("state_key") == bob.user_id and event["sender"] == alice.user_id
    ]
    assert len(kicks) == 1


def test_an_invite_is_rejected_by_its_event(alice: Client, bob: Client) -> None:
    room_id = create_room(alice)
    first = invite_event(alice, room_id, bob)
    reject = f"{V2}/invites/{segment(first)}/reject"
    refused(alice.post(reject), 404, "M_NOT_FOUND")
    ok(bob.post(reject, action_id="r1"))
    assert membership(alice, room_id, bob) == "leave"
    ok(bob.post(reject, action_id="r1"))
    refused(bob.post(reject), 404, "M_NOT_FOUND")
    second = invite_event(alice, room_id, bob)
    refused(bob.post(reject), 404, "M_NOT_FOUND")
    assert membership(alice, room_id, bob) == "invite"
    assert ok(bob.post(f"{V2}/join", {"invite": second}))
    refused(bob.post(f"{V2}/invites/{segment(second)}/reject"), 404, "M_NOT_FOUND")
    refused(bob.post(f"{V2}/invites/%24nothing/reject"), 404, "M_NOT_FOUND")


def test_outsiders_change_nothing(alice: Client, bob: Client, make_client: MakeClient, room_id: str) -> None:
    carol = make_client("carol")
    join(bob, room_id)
    for what in ("invite", "kick", "ban", "unban"):
        refused(change(carol, what, room_id, bob, action_id="a1"), 403, "M_FORBIDDEN")
        assert change(alice, what, room_id).json["errcode"] == "M_MISSING_PARAM"
    refused(change(carol, "leave", room_id), 403, "M_FORBIDDEN")
    refused(change(alice, "kick", room_id, bob, action_id="x" * 300), 400, "M_INVALID_PARAM")
    set_state(alice, room_id, "m.room.topic", {"topic": "x"})
    assert event_ids(messages(bob, room_id, limit=1)["chunk"])
