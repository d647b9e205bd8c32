"""Event filter tokens of version 2, and what they do to history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.client_v2.streams import paginate
from tests.client_v2.test_history import comment, pages, replies, scroll, update, window
from tests.in_process import Client
from tests.rooms.people import bodies, create_room, event_ids, join, ok, path, refused, send, set_state

V2 = "/_matrix/client/v2"
MakeClient = Callable[..., Client]


def define(client: Client, **definition: Any) -> str:
    return str(ok(client.post(f"{V2}/filter", definition))["filter"])


@pytest.fixture
def room_id(alice: Client) -> str:
    return create_room(alice, preset="public_chat")


def test_a_filter_picks_what_is_to_be_displayed(alice: Client, room_id: str) -> None:
    for number in range(4):
        send(alice, room_id, str(number))
        set_state(alice, room_id, "m.room.topic", {"topic": str(number)})
        send(alice, room_id, {"n": number}, "org.example.custom.data")
    only = define(alice, types=["m.room.message"])
    assert bodies(paginate(alice, room_id, filter=only, max=2)["events"]) == ["2", "3"]
    assert len(scroll(alice, room_id, filter=only, max=3)) == 4
    wild = define(alice, types=["org.example.custom.*", "m.room.topic"])
    found = scroll(alice, room_id, filter=wild, max=3)
    assert [event["type"] for event in found] == ["m.room.topic", "org.example.custom.data"] * 4


def test_pages_count_what_passes(alice: Client, room_id: str) -> None:
    for number in range(5):
        send(alice, room_id, str(number))
        set_state(alice, room_id, "m.room.topic", {"topic": str(number)})
    only = define(alice, types=["m.room.message"])
    overview = pages(alice, room_id, filter=only, max=2)
    assert overview["total"] == 5
    read = [paginate(alice, room_id, token=each, filter=only, max=2)["events"] for each in overview["tokens"]]
    assert ["".join(bodies(page)) for page in read] == ["01", "23", "4"]


def test_a_filter_says_what_comes_inside(alice: Client, room_id: str) -> None:
    parent = send(alice, room_id, "parent")
    edit, said = update(alice, room_id, parent), comment(alice, room_id, parent)
    three = define(alice, relates_to=3)
    [event] = [each for each in scroll(alice, room_id, filter=three) if each["event_id"] == parent]
    assert event_ids(event["replies"]["chunk"]) == [said]
    none = scroll(alice, room_id, filter=three, replies=0)
    assert not any("replies" in each for each in none)
    apart = scroll(alice, room_id, filter=define(alice, updates=False))
    assert event_ids(apart)[-3:] == [parent, edit, said]
    assert not any("updated_by" in each for each in apart)


def test_a_filter_says_which_form_events_have(alice: Client, room_id: str) -> None:
    parent = send(alice, room_id, "parent")
    update(alice, room_id, parent)
    [event] = [
        each
        for each in scroll(alice, room_id, filter=define(alice, fields=["event_id", "content.body"]))
        if each["event_id"] == parent
    ]
    assert event["content"] == {"body": "parent"}
    assert set(event) == {"event_id", "content", "updated_by"}
    assert set(event["updated_by"][0]) == {"event_id", "content"}
    pdu = scroll(alice, room_id, filter=define(alice, format="federation"))[-1]
    assert {"auth_events", "prev_events", "hashes", "signatures"} <= set(pdu)


def test_filters_for_windows_replies_and_joining(
    alice: Client, make_client: MakeClient, room_id: str
) -> None:
    bob, only = make_client("bob"), define(alice, types=["m.room.message"])
    first = send(alice, room_id, "first")
    set_state(alice, room_id, "m.room.topic", {"topic": "x"})
    comment(alice, room_id, first)
    send(alice, room_id, {"relates_to": first}, "org.example.vote")
    topics = define(alice, types=["m.room.topic"])
    shown = window(alice, first, filter=only, state_filter=topics, max=10)
    assert bodies(shown["events"]) == ["first", "re"]
    assert [event["type"] for event in shown["state"]] == ["m.room.topic"]
    assert bodies(replies(alice, first, filter=only)["chunk"]) == ["re"]
    response = {
        "filter": define(bob, types=["m.room.message"]),
        "state_filter": define(bob, types=["m.room.name"]),
    }
    answer = ok(bob.post(f"{V2}/join", {"room_id": room_id, "response": response}))["response"]
    assert (bodies(answer["events"]), answer["state"]) == (["first", "re"], [])


def test_a_token_is_its_owners_and_the_same_for_the_same_filter(
    alice: Client, make_client: MakeClient, room_id: str
) -> None:
    bob = make_client("bob")
    join(bob, room_id)
    token = define(alice, types=["m.room.message"], rooms=[room_id])
    assert define(alice, rooms=[room_id], types=["m.room.message"]) == token
    assert define(alice, types=["m.room.message"]) != token
    for client, other in ((bob, token), (alice, "x"), (alice, "e_" + "A" * 22)):
        refused(client.get(path(room_id, "paginate", version=V2), filter=other), 404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("definition", "errcode"),
    [
        ({"types": "m.room.message"}, "M_BAD_JSON"),
        ({"rooms": ["x"]}, "M_INVALID_PARAM"),
        ({"users": [5]}, "M_BAD_JSON"),
        ({"updates": "yes"}, "M_BAD_JSON"),
        ({"relates_to": -1}, "M_BAD_JSON"),
        ({"format": "xml"}, "M_INVALID_PARAM"),
        ({"fields": 5}, "M_BAD_JSON"),
    ],
)
def test_what_is_no_filter(alice: Client, definition: Any, errcode: str) -> None:
    refused(alice.post(f"{V2}/filter", definition), 400, errcode)
    refused(alice.post(f"{V2}/filter", {"types": ["x" * 70_000]}), 413, "M_TOO_LARGE")
