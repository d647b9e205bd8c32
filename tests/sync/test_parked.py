"""Clients that wait in /sync without a function: the marks that they get, and the rings that call them."""

from __future__ import annotations

import re
import time

import pytest

from local_cloud.aws.sqs import Sqs
from murmuration.aws import dynamodb
from murmuration.delivery import wakes
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.settings import settings
from murmuration.storage.live import streams, sync_tokens, wake_queues
from murmuration.sync import waiting
from tests.in_process import Client
from tests.logged_in import log_in
from tests.rooms.people import V3, ok, path, send
from tests.sync.client import Syncing, bodies_of, has_nothing
from tests.sync.test_waiting import LONG, Make, registrations, room, tell

__all__ = ["room"]
pytestmark = pytest.mark.usefixtures("sqs", "parked")


def test_who_is_up_to_date_leaves_with_a_mark(room: tuple[Client, Client, str, Syncing]) -> None:
    _, bob, _, syncing = room
    answer = syncing.peek(timeout=LONG)
    assert has_nothing(answer)
    row, slot, queue, print_, until_s, _, _ = answer["next_batch"].split(".")
    assert row == f"p_{(syncing.since or '').removeprefix('s_')}"
    (wait,) = registrations(bob)
    assert slot.startswith(f"p0{wait.nonce}"), "and when all that there is was looked at"
    assert re.fullmatch("[0-9a-f]{32}", queue)
    assert len(print_) == 12
    (wait,) = registrations(bob)
    assert wait.queue.endswith(queue)
    assert wait.until >= int(until_s) + 50


def test_a_marked_token_is_a_token(room: tuple[Client, Client, str, Syncing]) -> None:
    alice, bob, room_id, syncing = room
    syncing.sync(timeout=LONG)
    send(alice, room_id, "news")
    assert bodies_of(syncing.peek(), room_id) == ["news"]
    assert bodies_of(syncing.peek(timeout=LONG), room_id) == ["news"]
    from_token = bob.get(path(room_id, "messages"), dir="f", **{"from": syncing.since})
    assert from_token.status == 200


def test_the_mark_ends_with_typing(room: tuple[Client, Client, str, Syncing]) -> None:
    alice, _, room_id, syncing = room
    ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": True, "timeout": 30_000}))
    syncing.sync()
    until_s = int(syncing.peek(timeout=LONG)["next_batch"].split(".")[4])
    assert until_s <= time.time() + 32


def test_a_ring_stays_for_all_who_hold_the_mark(
    room: tuple[Client, Client, RoomId, Syncing], sqs: Sqs
) -> None:
    alice, _, room_id, syncing = room
    queue = syncing.peek(timeout=LONG)["next_batch"].split(".")[2]
    send(alice, room_id)
    tell(room_id)
    found = sqs.queue(settings().queue(wake_queues.prefix() + queue))
    for _ in range(3):
        assert len(found.receive(1, wait=1, visibility=0)) == 1


def test_a_slot_that_rang_is_not_used_again_soon(room: tuple[Client, Client, RoomId, Syncing]) -> None:
    _, _, room_id, syncing = room
    slots = []
    for _ in range(3):
        slots.append(syncing.peek(timeout=LONG)["next_batch"].split(".")[1][:2])
        tell(room_id)
    assert slots == ["p0", "p1", "p2"]


def test_without_a_free_slot_waiting_is_held(
    room: tuple[Client, Client, str, Syncing], monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, syncing = room
    monkeypatch.setattr(waiting, "SLOTS", 1)
    assert syncing.peek(timeout=LONG)["next_batch"].startswith("p_")
    began = time.monotonic()
    assert syncing.peek(timeout=1_100)["next_batch"].startswith("s_")
    assert time.monotonic() - began > 1


def test_who_does_not_want_to_wait_gets_no_mark(room: tuple[Client, Client, str, Syncing]) -> None:
    *_, syncing = room
    assert syncing.peek()["next_batch"] == syncing.since
    assert syncing.peek(timeout=0)["next_batch"] == syncing.since
    assert syncing.peek(timeout=LONG, full_state="true")["next_batch"] == syncing.since


def test_queues_have_names_that_others_cannot_tell(make_client: Make) -> None:
    alice = make_client("alice")
    names = {
        wake_queues.queue_id(secret, UserId(alice.user_id), device, slot)
        for secret in (b"a", b"b")
        for device in (DeviceId("A"), DeviceId("B"))
        for slot in ("p0", "p1")
    }
    assert len(names) == 8


def test_a_device_that_is_logged_out_elsewhere_is_called(room: tuple[Client, Client, str, Syncing]) -> None:
    _, bob, _, syncing = room
    marked = syncing.peek(timeout=LONG)["next_batch"]
    (wait,) = registrations(bob)
    tablet = log_in(UserId(bob.user_id), DeviceId("TABLET"))
    ok(tablet.post(f"{V3}/logout/all"))
    assert bob.get(f"{V3}/sync", since=marked, timeout=LONG).status == 401
    changed = dynamodb.query(
        "streams", "stream_id = :s", {":s": streams.user_stream(UserId(bob.user_id))}, consistent=True
    )
    newest = max((item for item in changed if "seq" in item), key=lambda item: item["seq"])
    wakes.wake_for_stream_items([newest])
    assert newest["sk"] == streams.NUDGE
    assert registrations(bob) == []
    assert wake_queues.wait(wait.queue, wait.nonce, 1).what == "ring"


def test_news_need_no_registration(room: tuple[Client, Client, str, Syncing]) -> None:
    alice, bob, room_id, syncing = room
    send(alice, room_id, "news")
    answer = ok(bob.get(f"{V3}/sync", since=syncing.since, timeout=LONG))
    assert bodies_of(answer, room_id) == ["news"]
    is_fresh = sync_tokens.FRESH_S > 0
    assert answer["next_batch"].startswith("p_" if is_fresh else "s_"), "one that was made is used"
    assert len(registrations(bob)) == is_fresh
