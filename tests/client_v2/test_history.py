"""A room's history in version 2: pages, the overview of pages, windows, and what comes inside an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.client_v2.streams import paginate
from tests.in_process import Client, segment
from tests.rooms.people import (
    bodies,
    create_room,
    event_ids,
    invite,
    join,
    leave,
    ok,
    path,
    redact,
    refused,
    relate,
    send,
    set_state,
)

V2 = "/_matrix/client/v2"
MakeClient = Callable[..., Client]


def pages(client: Client, room_id: str, **query: Any) -> Any:
    return ok(client.get(path(room_id, "pages", version=V2), **query))


def window(client: Client, event_id: str, **query: Any) -> Any:
    return ok(client.get(f"{V2}/events/{segment(event_id)}/context", **query))


def replies(client: Client, event_id: str, **query: Any) -> Any:
    return ok(client.get(f"{V2}/events/{segment(event_id)}/replies", **query))


def scroll(client: Client, room_id: str, **query: Any) -> list[dict[str, Any]]:
    """Return the whole history that a client gets by going back, oldest first."""
    events: list[dict[str, Any]] = []
    answer = paginate(client, room_id, **query)
    while True:
        events = answer["events"] + events
        if "token" not in answer:
            return events
        answer = paginate(client, room_id, **{**query, "token": answer["token"]})


def update(client: Client, room_id: str, parent: str, body: str = "updated") -> str:
    return send(client, room_id, {"msgtype": "m.text", "body": body, "updates": parent})


def comment(client: Client, room_id: str, parent: str, body: str = "re") -> str:
    return send(client, room_id, {"msgtype": "m.text", "body": body, "relates_to": parent})


@pytest.fixture
def room_id(alice: Client) -> str:
    return create_room(alice, preset="public_chat")


# -- Pages ---------------------------------------------------------------------------------------------------


def test_going_back_gives_everything_once_in_order(alice: Client, room_id: str) -> None:
    sent = [send(alice, room_id, str(number)) for number in range(7)]
    events = scroll(alice, room_id, max=3)
    assert event_ids(events)[-7:] == sent
    assert events[0]["type"] == "m.room.create"
    assert len(set(event_ids(events))) == len(events)
    assert bodies(paginate(alice, room_id, max=3)["events"]) == ["4", "5", "6"]


def test_the_overview_names_every_page(alice: Client, room_id: str) -> None:
    for number in range(7):
        send(alice, room_id, str(number))
    whole = event_ids(scroll(alice, room_id))
    for size in (1, 2, 5, 6, 12, 13, 100):
        overview = pages(alice, room_id, max=size)
        assert overview["total"] == len(whole)
        read = [
            event_ids(paginate(alice, room_id, token=each, max=size)["events"]) for each in overview["tokens"]
        ]
        assert all(len(page) == size for page in read[:-1])
        assert [event_id for page in read for event_id in page] == whole


def test_what_is_sent_later_moves_no_page(alice: Client, room_id: str) -> None:
    for number in range(5):
        send(alice, room_id, str(number))

    def read(tokens: list[str]) -> list[list[str]]:
        return [event_ids(paginate(alice, room_id, token=each, max=3)["events"]) for each in tokens]

    tokens = pages(alice, room_id, max=3)["tokens"]
    before = read(tokens)
    for number in range(4):
        send(alice, room_id, f"later {number}")
    assert read(tokens) == before
    assert pages(alice, room_id, max=3)["tokens"][: len(tokens) - 1] == tokens[:-1]


def test_going_on_from_a_page(alice: Client, room_id: str) -> None:
    for number in range(6):
        send(alice, room_id, str(number))
    last = pages(alice, room_id, max=2)["tokens"][-1]
    page = paginate(alice, room_id, token=last, max=2)
    assert bodies(paginate(alice, room_id, token=page["token"], max=2)["events"]) == ["2", "3"]
    smaller = paginate(alice, room_id, token=last, max=1)
    assert bodies(smaller["events"]) == ["5"]
    assert bodies(paginate(alice, room_id, token=smaller["token"], max=1)["events"]) == ["4"]


def test_history_is_what_one_may_see(alice: Client, make_client: MakeClient, room_id: str) -> None:
    bob, carol = make_client("bob"), make_client("carol")
    set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    send(alice, room_id, "before")
    join(bob, room_id)
    send(alice, room_id, "during")
    leave(bob, room_id)
    send(alice, room_id, "after")
    assert bodies(scroll(bob, room_id)) == ["during"]
    overview = pages(bob, room_id, max=100)
    assert bodies(paginate(bob, room_id, token=overview["tokens"][0], max=100)["events"]) == ["during"]
    everything = pages(alice, room_id, max=100)["tokens"][0]
    assert bodies(paginate(bob, room_id, token=everything, max=100)["events"]) == ["during"]
    for where in ("paginate", "pages"):
        refused(carol.get(path(room_id, where, version=V2)), 403, "M_FORBIDDEN")
        refused(carol.get(path("!nowhere:example.org", where, version=V2)), 403, "M_FORBIDDEN")


@pytest.mark.parametrize("token", ["x", "r1", "r1_x", "r1_2_3", "t1_2", "s_unknown123"])
def test_what_is_no_token(alice: Client, room_id: str, token: str) -> None:
    refused(alice.get(path(room_id, "paginate", version=V2), token=token), 400, "M_INVALID_PARAM")


def test_a_page_of_no_events_and_tokens_out_of_range(alice: Client, room_id: str) -> None:
    assert paginate(alice, room_id, token="r50_90")["events"] == []
    assert paginate(alice, room_id, token="r9_2")["events"] == []
    assert paginate(alice, room_id, token="t-5") == {"events": []}
    refused(alice.get(path(room_id, "paginate", version=V2), max=0), 400, "M_INVALID_PARAM")


# -- Updates and replies -------------------------------------------------------------------------------------


def test_the_drafts_example(alice: Client, room_id: str) -> None:
    """Ten comments on a message and an edit: the message comes with the edit and the newest three."""
    parent = send(alice, room_id, "I am teh winner!")
    for number in range(1, 11):
        comment(alice, room_id, parent, f"comment {number}")
    update(alice, room_id, parent, "I am the winner!")
    [event] = [each for each in scroll(alice, room_id, replies=3) if each["event_id"] == parent]
    assert event["content"]["body"] == "I am teh winner!"
    assert bodies(event["updated_by"]) == ["I am the winner!"]
    assert bodies(event["replies"]["chunk"]) == ["comment 8", "comment 9", "comment 10"]
    earlier = replies(alice, parent, token=event["replies"]["start"], max=5)
    assert bodies(earlier["chunk"]) == [f"comment {number}" for number in range(3, 8)]
    first = replies(alice, parent, token=earlier["start"], max=5)
    assert bodies(first["chunk"]) == ["comment 1", "comment 2"]
    assert "start" not in first


def test_updates_are_not_shown_alone_and_comments_are(alice: Client, room_id: str) -> None:
    parent = send(alice, room_id, "parent")
    edits = [
        update(alice, room_id, parent),
        relate(alice, room_id, parent, "m.replace", **{"m.new_content": {}}),
    ]
    said = comment(alice, room_id, parent)
    events = scroll(alice, room_id, max=2)
    assert not set(edits) & set(event_ids(events))
    assert said in event_ids(events)
    [shown] = [each for each in events if each["event_id"] == parent]
    assert event_ids(shown["updated_by"]) == edits
    assert pages(alice, room_id, max=100)["total"] == len(events)
    assert not set(edits) & set(event_ids(window(alice, said)["events"]))


def test_both_ways_of_relating_are_one(alice: Client, room_id: str) -> None:
    parent = send(alice, room_id, "parent")
    kin = [
        comment(alice, room_id, parent),
        relate(alice, room_id, parent, "m.thread"),
        relate(alice, room_id, parent, "m.reference"),
        relate(alice, room_id, parent, "m.annotation", relation={"key": "+"}, event_type="m.reaction"),
        relate(alice, room_id, parent, "org.example.other"),
    ]
    assert event_ids(replies(alice, parent)["chunk"]) == kin
    today = ok(alice.get(path(room_id, "relations", parent, version="/_matrix/client/v1"), dir="f"))
    assert event_ids(today["chunk"]) == kin


def test_updates_of_updates_come_inside_them(alice: Client, room_id: str) -> None:
    chain = [send(alice, room_id, "0")]
    for number in range(1, 5):
        chain.append(update(alice, room_id, chain[-1], str(number)))
    [event] = [each for each in scroll(alice, room_id) if each["event_id"] == chain[0]]
    found = []
    while "updated_by" in event:
        [event] = event["updated_by"]
        found.append(event["content"]["body"])
    assert found == ["1", "2", "3"]


def test_a_redacted_update_is_gone(alice: Client, room_id: str) -> None:
    parent = send(alice, room_id, "parent")
    redact(alice, room_id, update(alice, room_id, parent))
    [event] = [each for each in scroll(alice, room_id) if each["event_id"] == parent]
    assert "updated_by" not in event


def test_children_are_what_one_may_see(alice: Client, make_client: MakeClient, room_id: str) -> None:
    bob = make_client("bob")
    join(bob, room_id)
    parent = send(alice, room_id, "parent")
    update(alice, room_id, parent, "seen")
    comment(alice, room_id, parent, "seen")
    leave(bob, room_id)
    update(alice, room_id, parent, "unseen")
    comment(alice, room_id, parent, "unseen")
    [event] = [each for each in scroll(bob, room_id, replies=5) if each["event_id"] == parent]
    assert bodies(event["updated_by"]) == ["seen"]
    assert bodies(event["replies"]["chunk"]) == ["seen"]
    assert bodies(replies(bob, parent)["chunk"]) == ["seen"]
    ignored: dict[str, Any] = {"ignored_users": {alice.user_id: {}}}
    ok(bob.put(f"/_matrix/client/v3/user/{segment(bob.user_id)}/account_data/m.ignored_user_list", ignored))
    assert bodies(scroll(bob, room_id, replies=5)) == []


def test_replies_that_are_not_shown_hide_none_before_them(
    alice: Client, make_client: MakeClient, room_id: str
) -> None:
    bob = make_client("bob")
    join(bob, room_id)
    parent = send(alice, room_id, "parent")
    said = comment(alice, room_id, parent)
    for _ in range(4):
        comment(bob, room_id, parent)
    ignored: dict[str, Any] = {"ignored_users": {bob.user_id: {}}}
    where = f"/_matrix/client/v3/user/{segment(alice.user_id)}/account_data/m.ignored_user_list"
    ok(alice.put(where, ignored))
    [event] = [each for each in scroll(alice, room_id, replies=2) if each["event_id"] == parent]
    assert event["replies"]["chunk"] == []
    found: list[str] = []
    token = event["replies"]["start"]
    while token is not None:
        page = replies(alice, parent, token=token, max=1)
        found, token = event_ids(page["chunk"]) + found, page.get("start")
    assert found == [said]


def test_many_updates_and_replies_are_bounded(alice: Client, room_id: str) -> None:
    parent = send(alice, room_id, "parent")
    for number in range(0, 110, 10):
        events = [
            {
                "type": "m.room.message",
                "content": {"msgtype": "m.text", "body": str(number + each), "updates": parent},
            }
            for each in range(10)
        ]
        ok(alice.post(path(room_id, "send", version=V2), {"events": events}))
    [event] = [each for each in scroll(alice, room_id) if each["event_id"] == parent]
    assert bodies(event["updated_by"]) == [str(number) for number in range(10, 110)]
    assert event["limited"] is True


# -- Windows -------------------------------------------------------------------------------------------------


def test_a_window_before_around_and_after(alice: Client, room_id: str) -> None:
    sent = [send(alice, room_id, str(number)) for number in range(9)]
    shown = {
        position: window(alice, sent[4], position=position, max=4)
        for position in ("before", "around", "after")
    }
    assert {position: "".join(bodies(each["events"])) for position, each in shown.items()} == {
        "before": "01234", "around": "23456", "after": "45678",
    }  # fmt: skip
    assert shown["around"]["room_id"] == room_id
    older = paginate(alice, room_id, token=shown["around"]["start"], max=2)
    assert bodies(older["events"]) == ["0", "1"]
    newer = ok(alice.get(path(room_id, "messages"), dir="f", **{"from": shown["around"]["end"]}))
    assert bodies(newer["chunk"]) == ["7", "8"]


def test_a_windows_state_is_that_at_its_end(alice: Client, room_id: str) -> None:
    for number in range(4):
        set_state(alice, room_id, "m.room.topic", {"topic": str(number)})
        event_id = send(alice, room_id, str(number))
        if number == 1:
            middle = event_id
    state = window(alice, middle, position="before", max=1)["state"]
    [topic] = [event for event in state if event["type"] == "m.room.topic"]
    assert topic["content"] == {"topic": "1"}
    assert "membership" not in topic["unsigned"]


def test_windows_and_replies_of_what_one_may_not_see(alice: Client, make_client: MakeClient) -> None:
    bob = make_client("bob")
    room_id = create_room(alice)
    event_id = send(alice, room_id)
    for where in ("context", "replies"):
        for target in (event_id, "$unknown", "x", "x" * 300):
            refused(bob.get(f"{V2}/events/{segment(target)}/{where}"), 404, "M_NOT_FOUND")
    invite(alice, room_id, bob)
    join(bob, room_id)
    assert window(bob, event_id)["room_id"] == room_id
    refused(bob.get(f"{V2}/events/{segment(event_id)}/context", position="up"), 400, "M_INVALID_PARAM")


# -- Calls ---------------------------------------------------------------------------------------------------


def test_a_call_is_one_event_with_all_that_updates_it(
    alice: Client, make_client: MakeClient, room_id: str
) -> None:
    """The signalling of the general API: an offer that caller and callee update."""
    bob = make_client("bob")
    join(bob, room_id)
    ok(alice.put(path(room_id, "state", "m.room.join_rules"), {"join_rule": "invite"}))
    offer = send(alice, room_id, {"call_id": "c", "offer": {"type": "offer", "sdp": "o"}}, "m.call.invite")
    steps: list[tuple[Client, str, dict[str, Any]]] = [
        (bob, "m.call.answer", {"device_id": "foo", "answer": {"type": "answer", "sdp": "a"}}),
        (alice, "m.call.ack", {"device_id": "foo"}),
        (alice, "m.call.candidates", {"candidates": [{"candidate": "x"}]}),
        (bob, "m.call.candidates", {"candidates": [{"candidate": "y"}]}),
        (bob, "m.call.hangup", {"device_id": "foo"}),
    ]
    for client, event_type, content in steps:
        send(client, room_id, {"call_id": "c", "updates": offer, **content}, event_type)
    for client in (alice, bob):
        [call] = [event for event in scroll(client, room_id) if event["type"].startswith("m.call.")]
        assert [each["type"] for each in call["updated_by"]] == [event_type for _, event_type, _ in steps]
        assert [each["sender"] for each in call["updated_by"]] == [each.user_id for each, _, _ in steps]
