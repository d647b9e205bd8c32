"""Waiting in sliding sync: a change wakes the connections that it concerns, and a wait consumes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest

from murmuration.aws import queues
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.sliding_sync import assembly, engine
from murmuration.storage.live import wake_queues
from murmuration.storage.rooms import room_items
from murmuration.sync import waiting
from tests.in_process import Client
from tests.local_cloud.waiting import PATIENCE_S, until
from tests.rooms.people import create_room, invite, join, leave, send
from tests.sliding_sync.client import ROOM_LIST, Sliding, all_rooms, bodies, opened
from tests.sliding_sync.test_extensions import Encryption
from tests.sliding_sync.test_extensions import tell as tell_device
from tests.sync.test_waiting import LONG, check_sent_away, registrations, tell, type_until_shown

Make = Callable[..., Client]
pytestmark = pytest.mark.usefixtures("sqs", "held")


@pytest.fixture
def people(make_client: Make) -> tuple[Client, Client, str, Sliding]:
    """Return Alice's room, which Bob is in, and Bob's connection."""
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    sliding = Sliding(bob, extensions=ROOM_LIST)
    sliding.sync()
    return alice, bob, room_id, sliding


def waits(pool: ThreadPoolExecutor, sliding: Sliding, **query: Any) -> Future[Any]:
    return pool.submit(sliding.peek, **({"timeout": LONG} | query))


def test_a_message_wakes_who_waits(people: tuple[Client, Client, RoomId, Sliding]) -> None:
    alice, bob, room_id, sliding = people
    with ThreadPoolExecutor() as pool:
        answer = waits(pool, sliding)
        until(lambda: registrations(bob))
        send(alice, room_id, "news")
        tell(room_id)
        assert bodies(answer.result(PATIENCE_S)["rooms"][room_id]) == ["news"]
    assert registrations(bob) == []


def test_a_wait_whose_queue_is_missing_keeps_its_slot(
    people: tuple[Client, Client, RoomId, Sliding], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is as in /sync. A new device has no queues, and few slots."""
    alice, bob, room_id, sliding = people
    genuine, made, slots = wake_queues.wait, threading.Event(), []

    def wait(url: str, nonce: str, seconds: float) -> wake_queues.Heard:
        slots.append(url)
        heard = genuine(url, nonce, seconds)
        if heard.what == "made":
            made.set()
        return heard

    monkeypatch.setattr(wake_queues, "wait", wait)
    # As on AWS, where the URL of a queue is known before it is there.
    monkeypatch.setattr(queues, "url_of_name", lambda name: f"https://sqs.example.org/0/{name}")
    with ThreadPoolExecutor() as pool:
        answer = waits(pool, sliding)
        assert made.wait(PATIENCE_S)
        until(lambda: len(slots) == 2)
        assert (len(set(slots)), len(registrations(bob))) == (1, 1)
        send(alice, room_id, "news")
        tell(room_id)
        assert bodies(answer.result(PATIENCE_S)["rooms"][room_id]) == ["news"]
    assert registrations(bob) == []


def test_news_without_a_ring_leave_no_slot_taken(people: tuple[Client, Client, str, Sliding]) -> None:
    alice, bob, room_id, sliding = people
    genuine, looks = assembly.assemble, []

    def assemble(*args: Any, **given: Any) -> Any:
        looks.append(1)
        if len(looks) == 2:
            send(alice, room_id, "unheard")
        return genuine(*args, **given)

    with mock.patch.object(engine, "assemble", assemble):
        answer = sliding.peek(timeout=LONG)
    assert bodies(answer["rooms"][room_id]) == ["unheard"]
    assert registrations(bob) == []


def test_a_message_between_the_look_and_the_wait_is_not_missed(
    people: tuple[Client, Client, RoomId, Sliding],
) -> None:
    alice, _, room_id, sliding = people
    genuine, looks = assembly.assemble, []

    def assemble(*args: Any, **given: Any) -> Any:
        answer = genuine(*args, **given)
        looks.append(1)
        if len(looks) == 2:
            send(alice, room_id, "just now")
            tell(room_id)
        return answer

    with mock.patch.object(engine, "assemble", assemble):
        answer = sliding.peek(timeout=LONG)
    assert bodies(answer["rooms"][room_id]) == ["just now"]


def test_both_connections_of_a_device_wait_at_once(people: tuple[Client, Client, RoomId, Sliding]) -> None:
    alice, bob, room_id, sliding = people
    encryption = Encryption(bob)
    encryption.sync()
    with ThreadPoolExecutor() as pool:
        of_rooms, of_device = waits(pool, sliding), waits(pool, encryption)
        until(lambda: len(registrations(bob)) == 2)
        tell_device(alice, bob, n=1)
        _ring_device(bob)
        events = of_device.result(PATIENCE_S)["extensions"]["to_device"]["events"]
        assert [event["content"]["n"] for event in events] == [1]
        until(lambda: len(registrations(bob)) == 1)
        send(alice, room_id, "news")
        tell(room_id)
        assert bodies(of_rooms.result(PATIENCE_S)["rooms"][room_id]) == ["news"]


def _ring_device(client: Client) -> None:
    from murmuration.delivery import wakes

    wakes.wake({(UserId(client.user_id), DeviceId(client.device_id)): None})


def test_opening_a_room_while_another_request_waits(people: tuple[Client, Client, RoomId, Sliding]) -> None:
    alice, bob, room_id, sliding = people
    for body in "abc":
        send(alice, room_id, body)
    sliding.sync()
    with ThreadPoolExecutor() as pool:
        given_up = waits(pool, sliding)
        until(lambda: registrations(bob))
        opening = sliding.body(room_subscriptions={room_id: opened()})
        answer = sliding.peek(opening, timeout=LONG)
        assert bodies(answer["rooms"][room_id])[-3:] == ["a", "b", "c"]
        send(alice, room_id, "d")
        tell(room_id)
        assert bodies(given_up.result(PATIENCE_S)["rooms"][room_id]) == ["d"]
    sliding.pos = answer["pos"]
    assert bodies(sliding.sync(opening)["rooms"][room_id]) == ["d"]


def test_nothing_comes_until_the_timeout(people: tuple[Client, Client, str, Sliding]) -> None:
    *_, sliding = people
    answer = sliding.peek(timeout=300)
    assert answer == {"pos": sliding.pos, "lists": {"all": {"count": 1}}, "rooms": {}, "extensions": {}}


def test_without_a_pos_the_answer_comes_at_once(people: tuple[Client, Client, str, Sliding]) -> None:
    _, bob, _, _ = people
    answer = Encryption(bob).peek(timeout=LONG)
    assert answer["extensions"]["to_device"]["events"] == []
    assert registrations(bob) == []


def test_an_invite_and_a_leaving_elsewhere_wake(people: tuple[Client, Client, RoomId, Sliding]) -> None:
    alice, bob, room_id, sliding = people
    invited = RoomId(create_room(alice))
    sliding.lists["all"] = all_rooms(0)
    sliding.sync()
    with ThreadPoolExecutor() as pool:
        answer = waits(pool, sliding)
        until(lambda: registrations(bob))
        invite(alice, invited, bob)
        _tell_member(invited, bob)
        found = answer.result(PATIENCE_S)
        assert list(found["rooms"]) == [invited]
        assert found["lists"]["all"]["count"] == 2
        sliding.pos = found["pos"]
        answer = waits(pool, sliding)
        until(lambda: registrations(bob))
        leave(bob, room_id)
        _tell_member(room_id, bob)
        found = answer.result(PATIENCE_S)
        assert list(found["rooms"]) == [room_id]
        assert found["lists"]["all"]["count"] == 1


def _tell_member(room_id: RoomId, member: Client) -> None:
    from local_cloud.permissions import acting_for
    from murmuration.delivery import wakes

    head = room_items.read_head(room_id)
    assert head is not None
    item = {"room_id": room_id, "state_root": head.state_root, "member": member.user_id}
    with acting_for(None):
        wakes.wake_for_log_entries([item])


def test_more_requests_than_may_wait_are_sent_away(
    people: tuple[Client, Client, RoomId, Sliding], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, room_id, sliding = people
    monkeypatch.setattr(waiting, "SLOTS", 1)
    with ThreadPoolExecutor() as pool:
        first = waits(pool, sliding)
        until(lambda: registrations(bob))
        check_sent_away(sliding.ask(timeout=LONG))
        assert sliding.peek(timeout=500)["rooms"] == {}, "it doesn't want to wait for long"
        send(alice, room_id, "news")
        assert bodies(sliding.peek(timeout=LONG)["rooms"][room_id]) == ["news"]
        tell(room_id)
        assert bodies(first.result(PATIENCE_S)["rooms"][room_id]) == ["news"]


def test_typing_that_ends_by_itself_ends_the_wait(
    people: tuple[Client, Client, str, Sliding],
) -> None:
    alice, _, room_id, sliding = people
    type_until_shown(alice, room_id, lambda: alice.user_id in str(sliding.sync()["extensions"].get("typing")))
    answer = sliding.peek(timeout=LONG)
    assert answer["extensions"]["typing"]["rooms"][room_id]["content"]["user_ids"] == []
