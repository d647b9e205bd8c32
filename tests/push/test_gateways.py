"""Which notifications push gateways get, and when: push rules, read events, failures."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from local_cloud.permissions import acting_for
from murmuration import outbound
from murmuration.clock import now_ms
from murmuration.identity import budgets
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.push import gateways
from murmuration.storage.rooms import event_store
from murmuration.storage.users import accounts, failing_pushers, unread
from tests.in_process import Client, segment
from tests.push.gateway import Gateway, Workers
from tests.push.test_pushers import keys, set_pusher
from tests.rooms.people import V3, create_room, invite, join, leave, ok, path, redact, relate, send, set_state

Make = Callable[..., Client]


@pytest.fixture
def phone(alice: Client, gateway: Gateway, room_id: str) -> Client:
    """Return Alice, with a pusher that she set after she joined the room."""
    add_pusher(alice, gateway)
    return alice


def add_pusher(client: Client, gateway: Gateway, **data: Any) -> None:
    set_pusher(client, data={"url": gateway.url, "brand": "x", **data}, append=True)


def read(client: Client, room_id: str, event_id: str, **body: Any) -> None:
    ok(client.post(path(room_id, "receipt", "m.read", event_id), body))


def counts(came: list[dict[str, Any]]) -> list[int]:
    return [each["counts"]["unread"] for each in came]


def test_a_message_is_told_with_all_that_the_specification_has(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    event_id = send(bob, room_id, "ping")
    workers.run(room_id)
    (told,) = gateway.take()
    (device,) = told.pop("devices")
    assert device.pop("pushkey_ts") > 1_700_000_000
    assert device == {
        "app_id": "org.example.app",
        "pushkey": "key",
        "data": {"brand": "x"},
        "tweaks": {"sound": "default"},
    }
    assert told == {
        "event_id": event_id,
        "room_id": room_id,
        "type": "m.room.message",
        "sender": bob.user_id,
        "sender_display_name": "bob",
        "room_name": "The lounge",
        "content": {"msgtype": "m.text", "body": "ping"},
        "counts": {"unread": 1},
        "prio": "high",
    }


def test_event_id_only_tells_no_more_than_the_id(
    alice: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    add_pusher(alice, gateway, format="event_id_only")
    event_id = send(bob, room_id, "secret")
    workers.run(room_id)
    (told,) = gateway.take()
    assert told.keys() == {"event_id", "room_id", "counts", "prio", "devices"}
    assert told["event_id"] == event_id
    (device,) = told["devices"]
    assert device.keys() == {"app_id", "pushkey", "pushkey_ts", "data"}
    assert device["data"] == {"brand": "x", "format": "event_id_only"}


@pytest.mark.parametrize(("status", "is_done"), [(200, True), (202, True), (302, False), (404, False)])
def test_which_answers_count_as_told(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers, status: int, is_done: bool
) -> None:
    gateway.status = status
    gateway.headers = {"Location": gateway.url} if status == 302 else {}
    send(bob, room_id)
    workers.run(room_id)
    assert len(gateway.take()) == 1, "no redirect is followed"
    assert (workers.queue == []) is is_done


def test_nobody_is_told_of_their_own_events_nor_of_muted_rooms(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    send(phone, room_id)
    ok(phone.put(f"{V3}/pushrules/global/room/{segment(room_id)}", {"actions": []}))
    send(bob, room_id)
    workers.run(room_id)
    assert gateway.take() == []


def test_a_mention_is_a_highlight_where_the_room_is_muted(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    ok(phone.put(f"{V3}/pushrules/global/room/{segment(room_id)}", {"actions": []}))
    content = {"msgtype": "m.text", "body": "you", "m.mentions": {"user_ids": [phone.user_id]}}
    send(bob, room_id, content)
    workers.run(room_id)
    (told,) = gateway.take()
    assert told["devices"][0]["tweaks"]["highlight"] is True


def test_a_slow_gateway_is_left_alone_for_a_while(
    phone: Client,
    bob: Client,
    room_id: str,
    gateway: Gateway,
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then it gets everything that came meanwhile. Its user's budget pays for the time that the calls
    take.
    """
    paid: list[str] = []
    monkeypatch.setattr(budgets, "charge", lambda owner, _: paid.append(owner))
    monkeypatch.setattr(gateways, "SLOW_S", -1)
    monkeypatch.setattr(gateways, "RESTS", 1_000_000)
    sent = [send(bob, room_id, "one")]
    workers.run(room_id)
    sent += [send(bob, room_id, text) for text in ("two", "three")]
    workers.run(room_id)
    assert [each["event_id"] for each in gateway.take()] == sent[:1]
    assert phone.user_id in paid
    monkeypatch.setattr(gateways, "SLOW_S", 60)
    later = now_ms() + 86_000_000
    monkeypatch.setattr(gateways, "now_ms", lambda: later)
    workers.deliver(late=True)
    came = gateway.take()
    assert [each["event_id"] for each in came if "event_id" in each] == sent[1:]
    assert counts(came)[-1] == 3


def test_ignored_users_ring_nobody(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    content: dict[str, Any] = {"ignored_users": {bob.user_id: {}}}
    ok(phone.put(f"{V3}/user/{segment(phone.user_id)}/account_data/m.ignored_user_list", content))
    send(bob, room_id)
    workers.run(room_id)
    assert gateway.take() == []


def test_the_phone_of_a_locked_account_is_told_nothing(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    """The phone may be stolen. After the account is unlocked, notifications continue with the right
    number.
    """
    accounts.set_flag(UserId(phone.user_id), "locked", True)
    send(bob, room_id, "secret")
    workers.run(room_id)
    assert gateway.take() == []
    accounts.set_flag(UserId(phone.user_id), "locked", False)
    send(bob, room_id)
    workers.run(room_id)
    assert counts(gateway.take()) == [2]


def test_an_invite_is_told_to_whom_it_is_for(
    phone: Client, bob: Client, gateway: Gateway, workers: Workers
) -> None:
    room = create_room(bob, name="Second")
    invite(bob, room, phone)
    workers.run(room)
    (told,) = gateway.take()
    assert (told["type"], told["user_is_target"], told["room_name"]) == ("m.room.member", True, "Second")
    leave(phone, room)
    workers.run(room)
    assert counts(gateway.take()) == [0]


def test_an_invite_that_was_taken_counts_no_more(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    room = create_room(bob)
    invite(bob, room, phone)
    send(bob, room_id)
    workers.run(room, room_id)
    assert counts(gateway.take()) == [1, 2]
    join(phone, room)
    workers.run(room)
    assert counts(gateway.take()) == [1]
    ok(phone.put(f"{V3}/profile/{segment(phone.user_id)}/displayname", {"displayname": "Al"}))
    workers.run(room, room_id)
    assert gateway.take() == [], "another name shows nothing of what was read"


def test_the_number_goes_up_and_after_reading_to_zero(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    send(bob, room_id)
    workers.run(room_id)
    last = send(bob, room_id)
    workers.run(room_id)
    assert counts(gateway.take()) == [1, 2]
    read(phone, room_id, last)
    workers.run(room_id)
    (told,) = gateway.take()
    assert told["counts"] == {"unread": 0}
    assert "event_id" not in told


def test_a_call_that_is_overtaken_does_not_leave_an_older_number(
    phone: Client,
    bob: Client,
    room_id: str,
    gateway: Gateway,
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While one worker calls the gateway, another one reports that all was read, and arrives first."""
    genuine, event_id = outbound.post_json, send(bob, room_id)

    def post_json(url: str, body: Any, **options: Any) -> Any:
        monkeypatch.setattr(outbound, "post_json", genuine)
        with acting_for(None):
            read(phone, room_id, event_id)
            workers.run(room_id)
        return genuine(url, body, **options)

    monkeypatch.setattr(outbound, "post_json", post_json)
    workers.run(room_id)
    assert counts(gateway.take()) == [0, 1, 0]


def test_what_was_read_before_it_was_told_is_not_told(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    event_id = send(bob, room_id)
    read(phone, room_id, event_id)
    workers.run(room_id)
    assert gateway.take() == []
    assert unread.read_total(UserId(phone.user_id)) == 0


def test_an_answer_of_ones_own_reads_what_came_before(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    send(bob, room_id)
    workers.run(room_id)
    send(phone, room_id)
    workers.run(room_id)
    assert counts(gateway.take()) == [1, 0]


def test_a_receipt_of_a_thread_leaves_the_others_unread(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    root = send(bob, room_id)
    reply = relate(bob, room_id, root, "m.thread")
    workers.run(room_id)
    assert counts(gateway.take())[-1] == 2
    read(phone, room_id, reply, thread_id=root)
    workers.run(room_id)
    assert counts(gateway.take()) == [1]
    read(phone, room_id, root, thread_id="main")
    workers.run(room_id)
    assert counts(gateway.take()) == [0]


def test_what_is_redacted_counts_no_more(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    first, second = send(bob, room_id), send(bob, room_id)
    workers.run(room_id)
    assert counts(gateway.take()) == [1, 2]
    redact(bob, room_id, first)
    workers.run(room_id)
    assert counts(gateway.take()) == [1]
    read(phone, room_id, second)
    workers.run(room_id)
    assert counts(gateway.take()) == [0]


def test_a_redaction_that_did_not_count_takes_nothing_out(
    phone: Client, bob: Client, room_id: RoomId, gateway: Gateway, workers: Workers
) -> None:
    """Other servers may send a redaction that the room's rules don't allow."""
    event_id = EventId(send(bob, room_id))
    workers.run(room_id)
    ((_, ordinal),) = event_store.read_ordinals([event_id], room_id).items()
    workers.queue.append(
        ({"user_id": phone.user_id, "read": {"room_id": room_id, "up_to": {}, "gone": ordinal}}, 0)
    )
    workers.deliver()
    assert counts(gateway.take()) == [1]
    assert unread.read_total(UserId(phone.user_id)) == 1


def test_what_is_redacted_before_it_is_told_is_not_told(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    redact(bob, room_id, send(bob, room_id))
    workers.run(room_id)
    assert [each["type"] for each in gateway.take()] == []
    assert unread.read_total(UserId(phone.user_id)) == 0


def test_a_rejected_key_loses_its_pusher(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    gateway.rejected = ["another", "key"]
    send(bob, room_id)
    workers.run(room_id)
    assert len(gateway.take()) == 1
    assert keys(phone) == []
    send(bob, room_id)
    workers.run(room_id)
    assert gateway.take() == []


class Clock:
    def __init__(self) -> None:
        self.now = now_ms()

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(gateways, "now_ms", made)
    monkeypatch.setattr(failing_pushers, "now_ms", made)
    return made


def test_a_failing_gateway_is_tried_again_and_told_everything_in_order(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers, clock: Clock
) -> None:
    gateway.status = 502
    sent = [send(bob, room_id)]
    workers.run(room_id)
    assert len(gateway.take()) == 1
    sent.append(send(bob, room_id))
    workers.run(room_id)
    assert gateway.take() == [], "a new event does not shorten the pause"
    assert [delay for _, delay in workers.queue] == [5]
    clock.now += 5_000
    workers.deliver(late=True)
    assert len(gateway.take()) == 1
    assert [delay for _, delay in workers.queue] == [10]
    gateway.status = 200
    clock.now += 10_000
    workers.deliver(late=True)
    came = gateway.take()
    assert [each["event_id"] for each in came] == sent
    assert counts(came) == [2, 2]
    assert workers.queue == []
    sent.append(send(bob, room_id))
    workers.run(room_id)
    assert [each["event_id"] for each in gateway.take()] == sent[-1:]


def test_429_says_when_to_come_again(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers, clock: Clock
) -> None:
    gateway.status, gateway.headers = 429, {"Retry-After": "120"}
    send(bob, room_id)
    workers.run(room_id)
    assert [delay for _, delay in workers.queue] == [120]
    clock.now += 60_000
    workers.deliver(late=True)
    assert len(gateway.take()) == 1
    assert [delay for _, delay in workers.queue] == [60]


def test_one_attempt_is_on_its_way_at_most(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers, clock: Clock
) -> None:
    gateway.status = 500
    for _ in itertools.repeat(None, 4):
        send(bob, room_id)
        workers.run(room_id)
        clock.now += 3_600_000
    workers.deliver(late=True)
    assert len(workers.queue) == 1


def test_after_a_day_it_is_given_up(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers, clock: Clock
) -> None:
    gateway.status = 500
    send(bob, room_id)
    workers.run(room_id)
    clock.now += failing_pushers.LIFETIME_MS + 1000
    gateway.take()
    workers.deliver(late=True)
    assert (gateway.take(), workers.queue) == ([], [])


def test_a_gateway_at_a_private_address_is_not_called(
    phone: Client,
    bob: Client,
    room_id: str,
    gateway: Gateway,
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from murmuration.settings import settings

    monkeypatch.setenv("MURMURATION_PUSH_PRIVATE_GATEWAYS", "off")
    settings.cache_clear()
    send(bob, room_id)
    workers.run(room_id)
    assert gateway.take() == []
    assert len(workers.queue) == 1


def test_a_room_without_pushers_orders_nothing(bob: Client, room_id: str, workers: Workers) -> None:
    send(bob, room_id)
    set_state(bob, room_id, "m.room.topic", {"topic": "x"})
    workers.run(room_id)
    assert workers.queue == []
