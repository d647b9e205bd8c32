"""Typing notifications, which end by themselves."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.aws.reads import fetch
from murmuration.clock import now_ms
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.rooms.ephemeral import typing
from murmuration.storage.live import streams
from murmuration.storage.live.typing_users import typing_among, typing_read
from tests.in_process import Client
from tests.rooms.people import V3, create_room, join, leave, ok, path, refused, set_state

MakeClient = Callable[..., Client]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the time at which typing is read."""

    def set_time(now: int) -> None:
        monkeypatch.setattr(typing, "now_ms", lambda: now)

    set_time(1_000_000)
    return set_time


def tell(client: Client, room_id: str, body: Any, user_id: str | None = None) -> Any:
    return client.put(path(room_id, "typing", user_id or client.user_id), body)


def typists(room_id: RoomId, now: int) -> list[str]:
    return sorted(fetch(typing_read(room_id)).running(now))


def test_typing_ends_by_itself(alice: Client, clock: Callable[[int], None]) -> None:
    room_id = RoomId(create_room(alice))
    ok(tell(alice, room_id, {"typing": True, "timeout": 5000}))
    assert typists(room_id, 1_004_999) == [alice.user_id]
    assert typists(room_id, 1_005_000) == []


def test_typing_ends_when_told(alice: Client, clock: Callable[[int], None]) -> None:
    room_id = RoomId(create_room(alice))
    ok(tell(alice, room_id, {"typing": True}))
    assert typists(room_id, 1_029_999) == [alice.user_id]
    ok(tell(alice, room_id, {"typing": False}))
    assert typists(room_id, 1_000_000) == []
    seq = streams.read_head(streams.room_stream(room_id))
    ok(tell(alice, room_id, {"typing": False}))
    assert streams.read_head(streams.room_stream(room_id)) == seq


def test_who_has_stopped_is_dropped_on_the_next_write(
    alice: Client, make_client: MakeClient, clock: Callable[[int], None]
) -> None:
    room_id, bob = RoomId(create_room(alice, preset="public_chat")), make_client("bob")
    join(bob, room_id)
    ok(tell(alice, room_id, {"typing": True, "timeout": 5000}))
    ok(tell(bob, room_id, {"typing": True, "timeout": 20_000}))
    assert typists(room_id, 1_000_000) == sorted([alice.user_id, bob.user_id])
    assert typists(room_id, 1_010_000) == [bob.user_id]
    clock(1_010_000)
    ok(tell(bob, room_id, {"typing": True, "timeout": 20_000}))
    assert fetch(typing_read(room_id)).until == {bob.user_id: 1_030_000}


def test_time_is_limited(alice: Client, clock: Callable[[int], None]) -> None:
    room_id = RoomId(create_room(alice))
    ok(tell(alice, room_id, {"typing": True, "timeout": 10**12}))
    assert typists(room_id, 1_000_000 + typing.MAX_TIMEOUT_MS) == []


def test_event(alice: Client, clock: Callable[[int], None]) -> None:
    room_id = RoomId(create_room(alice))
    stream = streams.room_stream(room_id)
    assert typing.typing_event(typing_among(streams.read_after(stream, 0)), 1_000_000) == (None, 0)
    ok(tell(alice, room_id, {"typing": True, "timeout": 5000}))
    stored = typing_among(streams.read_after(stream, 0))
    event = {"type": "m.typing", "content": {"user_ids": [alice.user_id]}}
    assert typing.typing_event(stored, 1_000_000) == (event, 1_005_000)
    silence = {"type": "m.typing", "content": {"user_ids": []}}
    assert typing.typing_event(stored, 1_005_000) == (silence, 0)


def test_many_at_once_are_all_heard(alice: Client, make_client: MakeClient) -> None:
    room_id = RoomId(create_room(alice, preset="public_chat"))
    others = [make_client("other") for _ in range(6)]
    for other in others:
        join(other, room_id)
    with ThreadPoolExecutor(6) as threads:
        for answer in threads.map(lambda other: tell(other, room_id, {"typing": True}), others):
            ok(answer)
    assert set(fetch(typing_read(room_id)).until) == {other.user_id for other in others}


def work_on_log(room_id: str) -> None:
    """Do what the Streams worker does about members who leave."""
    typing.end_for_leavers(dynamodb.query("room-log", "room_id = :room", {":room": room_id}))


@pytest.mark.parametrize("way", ["leave", "kick", "ban", "state"])
def test_leaving_ends_it(alice: Client, bob: Client, room_id: RoomId, way: str) -> None:
    for each in (alice, bob):
        ok(tell(each, room_id, {"typing": True}))
    work_on_log(room_id)
    assert typists(room_id, now_ms()) == sorted([alice.user_id, bob.user_id])
    if way == "leave":
        leave(bob, room_id)
    elif way == "state":
        set_state(alice, room_id, "m.room.member", {"membership": "leave"}, bob.user_id)
    else:
        ok(alice.post(path(room_id, way), {"user_id": bob.user_id}))
    work_on_log(room_id)
    assert typists(room_id, now_ms()) == [alice.user_id]
    seq = streams.read_head(streams.room_stream(room_id))
    work_on_log(room_id)
    assert streams.read_head(streams.room_stream(room_id)) == seq


@pytest.mark.parametrize("way", ["logout", "logout/all"])
def test_logging_out_ends_it(alice: Client, bob: Client, room_id: RoomId, way: str) -> None:
    other_room = RoomId(create_room(bob))
    for each, where in ((alice, room_id), (bob, room_id), (bob, other_room)):
        ok(tell(each, where, {"typing": True}))
    ok(bob.post(f"{V3}/{way}"))
    assert typists(room_id, now_ms()) == [alice.user_id]
    assert typists(other_room, now_ms()) == []


def test_another_device_types_on(bob: Client, room_id: RoomId) -> None:
    ok(tell(bob, room_id, {"typing": True}))
    typing.end_on_devices(UserId(bob.user_id), [DeviceId("ANOTHER")])
    assert typists(room_id, now_ms()) == [bob.user_id]
    typing.end_on_devices(UserId(bob.user_id), [DeviceId(bob.device_id)])
    assert typists(room_id, now_ms()) == []


def test_errors(alice: Client, make_client: MakeClient) -> None:
    room_id, bob = create_room(alice), make_client("bob")
    refused(tell(bob, room_id, {"typing": True}), 403, "M_FORBIDDEN")
    refused(tell(bob, room_id, {"typing": True}, alice.user_id), 403, "M_FORBIDDEN")
    refused(tell(alice, "!unknown:example.org", {"typing": True}), 403, "M_FORBIDDEN")
    refused(tell(alice, "!" + "x" * 300, {"typing": True}), 403, "M_FORBIDDEN")
    refused(tell(alice, room_id, {}), 400, "M_MISSING_PARAM")
    for body in ({"typing": "yes"}, {"typing": True, "timeout": "1"}, {"typing": True, "timeout": True}):
        refused(tell(alice, room_id, body), 400, "M_BAD_JSON")
