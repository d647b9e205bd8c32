"""Waiting on version 2's event stream: no event is missed, and only the stream's own events end the wait."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

from local_cloud.aws.sqs import Sqs
from murmuration.clock import now_ms
from murmuration.drafts.v2 import streaming
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.storage.live import streamings
from tests.client_v2.streams import (
    V2,
    Streaming,
    define_filter,
    define_stream,
    event_stream,
)
from tests.in_process import Client
from tests.local_cloud.waiting import PATIENCE_S, until
from tests.rooms.people import (
    bodies,
    create_room,
    invite,
    ok,
    path,
    send,
    set_state,
)
from tests.sync.conftest import sqs
from tests.sync.test_waiting import LONG, registrations, tell

__all__ = ["sqs"]


def test_the_stream_waits_until_something_happens(
    bob: Client, alice: Client, room_id: RoomId, sqs: Sqs
) -> None:
    stream = Streaming(bob)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream.events, timeout=LONG)
        until(lambda: registrations(bob))
        send(alice, room_id, "at last")
        tell(room_id)
        assert bodies(answer.result(PATIENCE_S)) == ["at last"]


def test_an_event_between_look_and_wait_is_not_missed(
    bob: Client, alice: Client, room_id: RoomId, sqs: Sqs
) -> None:
    from murmuration.sync import waiting as sync_waiting

    stream, register = Streaming(bob), sync_waiting.register

    def send_first(*arguments: Any, **options: Any) -> Any:
        with mock.patch.object(sync_waiting, "register", register):
            send(alice, room_id, "in between")
            tell(room_id)
        return register(*arguments, **options)

    with mock.patch.object(sync_waiting, "register", send_first):
        assert bodies(stream.events(timeout=LONG)) == ["in between"]


def test_what_is_not_for_this_stream_does_not_end_the_wait(
    bob: Client, alice: Client, room_id: RoomId, sqs: Sqs
) -> None:
    stream = Streaming(bob)
    only = define_filter(bob, types=["m.room.message"])
    other = create_room(alice)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream.go_on, timeout=LONG, filter=only)
        until(lambda: registrations(bob))
        before = registrations(bob)
        invite(alice, other, bob)
        set_state(alice, room_id, "m.room.topic", {"topic": "tea"})
        tell(room_id)
        until(lambda: registrations(bob) not in ([], before))
        assert not answer.done()
        send(alice, room_id, "this")
        tell(room_id)
        assert bodies(answer.result(PATIENCE_S)["events"]) == ["this"]


def test_one_stream_may_be_waited_on_twice(bob: Client, alice: Client, room_id: RoomId, sqs: Sqs) -> None:
    token = define_stream(bob)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(event_stream, bob, token, LONG) for _ in range(2)]
        until(lambda: len(registrations(bob)) == 2)
        send(alice, room_id, "to both")
        tell(room_id)
        assert [bodies(each.result(PATIENCE_S)["events"]) for each in answers] == [["to both"]] * 2


def test_what_an_answer_gives_does_not_end_the_wait(
    bob: Client, alice: Client, room_id: RoomId, sqs: Sqs
) -> None:
    stream = Streaming(bob)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream.events, timeout=LONG)
        until(lambda: registrations(bob))
        before = registrations(bob)
        where = path(room_id, "send", "m.room.message", version=V2)
        ok(bob.post(where, {"msgtype": "m.text", "body": "mine"}, streaming=stream.token))
        tell(room_id)
        until(lambda: registrations(bob) not in ([], before))
        assert not answer.done()
        send(alice, room_id, "theirs")
        tell(room_id)
        assert bodies(answer.result(PATIENCE_S)) == ["theirs"]


def test_a_room_that_waits_for_its_answer_comes_without_a_ring(bob: Client, sqs: Sqs) -> None:
    """The answer with the room was lost, and nobody rings when its time is over."""
    stream = Streaming(bob)
    kept = streaming.parse(UserId(bob.user_id), stream.token).streaming
    streamings.note_entering(kept, now_ms() + 1500)
    create_room(bob)
    assert stream.events(timeout=LONG)[0]["type"] == "m.homeserver.scrollback"


def test_the_time_is_over_when_nothing_happens(bob: Client, room_id: str, sqs: Sqs) -> None:
    stream = Streaming(bob)
    before = stream.token
    assert stream.events(timeout=50) == []
    assert stream.token == before
