"""Events that an action's answer returned don't come again by the stream that the action named."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from murmuration.clock import now_ms
from murmuration.drafts.v2 import event_stream as domain
from murmuration.drafts.v2 import streaming
from murmuration.protocol.identifiers import UserId
from murmuration.rooms.membership import joining
from murmuration.storage.live import streamings
from murmuration.sync import engine, first_look
from tests.client_v2.streams import (
    V2,
    Streaming,
    define_filter,
)
from tests.in_process import Client
from tests.rooms.people import (
    create_room,
    event_ids,
    join,
    ok,
    path,
    refused,
    send,
)


def types(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


def test_what_an_answer_gave_does_not_come_down_that_stream(alice: Client, room_id: str) -> None:
    told, other = Streaming(alice), Streaming(alice)
    body = {
        "events": [
            {"type": "m.room.message", "content": {"msgtype": "m.text", "body": str(n)}} for n in range(2)
        ]
    }
    ok(alice.post(path(room_id, "send", version=V2), body, streaming=told.token))
    where = path(room_id, "state", "m.room.topic", version=V2)
    ok(alice.put(where, {"topic": "tea"}, streaming=told.token))
    ok(alice.delete(where, streaming=told.token))
    ok(
        alice.put(
            path(room_id, "powerLevels", version=V2), {"key": "kick", "value": 60}, streaming=told.token
        )
    )
    last = send(alice, room_id, "not given")
    assert event_ids(told.events()) == [last]
    assert len(other.events()) == 5  # of the topic, the deletion only


def test_a_repeated_action_is_given_once_more(alice: Client, room_id: str) -> None:
    stream = Streaming(alice)
    where = path(room_id, "send", "m.room.message", "a1", version=V2)
    ok(alice.put(where, {"msgtype": "m.text", "body": "x"}))
    ok(alice.put(where, {"msgtype": "m.text", "body": "x"}, streaming=stream.token))
    assert stream.events() == []


def test_a_refused_action_gives_nothing(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    where = path(room_id, "state", "m.room.topic", version=V2)
    refused(bob.put(where, {"topic": "no"}, streaming=stream.token), 403, "M_FORBIDDEN")
    event_id = send(alice, room_id, "yes")
    assert event_ids(stream.events()) == [event_id]


def test_many_events_may_be_given_and_the_oldest_forgotten(
    alice: Client, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamings, "MANY", 2)
    stream = Streaming(alice)
    where = path(room_id, "send", "m.room.message", version=V2)
    sent = [
        ok(alice.post(where, {"msgtype": "m.text", "body": str(n)}, streaming=stream.token))["event"][
            "event_id"
        ]
        for n in range(7)
    ]
    left = event_ids(stream.events())
    assert left == sent[: len(left)]
    assert 0 < len(left) <= 5


def test_a_room_shown_in_an_answer_does_not_come_down_that_stream(alice: Client, bob: Client) -> None:
    told, other = Streaming(bob), Streaming(bob)
    body = {"preset": "public_chat", "response": {"streaming": told.token, "max": 50}}
    room_id = ok(bob.post(f"{V2}/createRoom", body))["room_id"]
    assert types(told.events()) == ["m.homeserver.scrollback"]
    assert types(other.events())[:2] == ["m.homeserver.scrollback", "m.room.member"]
    join(alice, room_id)
    assert len(told.events()) == len(other.events()) == 1


def test_joining_gives_what_the_answer_asked_for(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, preset="public_chat")
    told = Streaming(bob)
    nothing = define_filter(bob, types=[])
    response = {"streaming": told.token, "filter": nothing, "state_filter": nothing}
    ok(bob.post(f"{V2}/join", {"room_id": room_id, "response": response}))
    assert types(told.events()) == ["m.homeserver.scrollback", "m.room.member"]


def test_the_stream_waits_for_the_answer_that_shows_the_room(alice: Client, bob: Client) -> None:
    """The stream is looked at when the room is joined, and the answer isn't made yet."""
    room_id = create_room(alice, preset="public_chat")
    told, between = Streaming(bob), []
    join_room = joining.join_room

    def look_then(*arguments: Any, **more: Any) -> str:
        found = join_room(*arguments, **more)
        between.append(told.events())
        return found

    with mock.patch.object(joining, "join_room", look_then):
        ok(bob.post(f"{V2}/join", {"room_id": room_id, "response": {"streaming": told.token}}))
    assert between == [[]]
    assert types(told.events()) == ["m.homeserver.scrollback"]


def test_a_join_that_fails_holds_nothing_up(alice: Client, bob: Client) -> None:
    closed, stream = create_room(alice), Streaming(bob)
    body = {"room_id": closed, "response": {"streaming": stream.token}}
    refused(bob.post(f"{V2}/join", body), 403, "M_FORBIDDEN")
    create_room(bob)
    assert types(stream.events())[0] == "m.homeserver.scrollback"


def test_an_answer_that_never_came_holds_up_no_longer_than_a_request(
    bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Streaming(bob)
    streamings.note_entering(streaming.parse(UserId(bob.user_id), stream.token).streaming, now_ms() + 60_000)
    create_room(bob)
    assert stream.events() == []
    later = now_ms() + 61_000
    monkeypatch.setattr(domain, "now_ms", lambda: later)
    assert types(stream.events())[0] == "m.homeserver.scrollback"


@pytest.mark.parametrize("moment", ["before the look", "after it"])
def test_a_look_at_the_moment_of_sending_brings_it_neither(alice: Client, room_id: str, moment: str) -> None:
    stream, sent = Streaming(alice), []

    def send_given() -> None:
        where = path(room_id, "send", "m.room.message", version=V2)
        answer = ok(alice.post(where, {"msgtype": "m.text", "body": "x"}, streaming=stream.token))
        sent.append(answer["event"]["event_id"])

    looked, read_rooms = domain.EventStream.look, first_look.read_rooms

    def look(reader: domain.EventStream) -> None:
        send_given()
        looked(reader)

    def head_first(*arguments: Any, **options: Any) -> Any:
        send_given()
        return read_rooms(*arguments, **options)

    at = {
        "before the look": mock.patch.object(engine, "read_rooms", head_first),
        "after it": mock.patch.object(domain.EventStream, "look", look),
    }
    with at[moment]:
        assert stream.events() == []
    last = send(alice, room_id, "last")
    assert len(sent) == 1
    assert event_ids(stream.events()) == [last]
