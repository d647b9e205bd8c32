"""The inbox of a device that never syncs is bounded: the oldest messages go first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.storage.live import inboxes, streams, to_device
from tests.budgets.meter import Meter
from tests.in_process import Client
from tests.logged_in import log_in

CONTENT_BYTES = 100


@pytest.fixture
def bob(fresh_user_id: Callable[[str], str]) -> Client:
    return log_in(UserId(fresh_user_id("bob")), DeviceId("BOB"))


@pytest.fixture
def alice(fresh_user_id: Callable[[str], str]) -> Client:
    return log_in(UserId(fresh_user_id("alice")), DeviceId("ALICE"))


def send(alice: Client, bob: Client, number: int, size: int = CONTENT_BYTES) -> None:
    content = {"n": number, "padding": "x" * size}
    path = f"/_matrix/client/v3/sendToDevice/m.test/{alice.device_id}{number}"
    assert alice.put(path, {"messages": {bob.user_id: {bob.device_id: content}}}).status == 200


def send_remote(origin: ServerName, bob: Client, numbers: range) -> None:
    """Send messages as another server does."""
    target = (UserId(bob.user_id), DeviceId(bob.device_id))
    to_device.send_in_order(
        [
            to_device.Sending(
                to_device.message_key(origin, str(number)),
                {target: f'{{"content":{{"n":{number}}}}}'},
                number,
            )
            for number in numbers
        ]
    )


def numbers(bob: Client) -> list[Any]:
    found = to_device.read(UserId(bob.user_id), DeviceId(bob.device_id), 0, 1000)
    return [event["content"]["n"] for event in found.events]


def test_the_oldest_messages_go_when_there_are_too_many(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "MOST_MESSAGES", 10)
    monkeypatch.setattr(inboxes, "STEP_MESSAGES", 5)
    for number in range(1, 33):
        send(alice, bob, number)
    assert numbers(bob) == list(range(21, 33)), "the last step was passed at 30, when ten were kept"


def test_the_oldest_messages_go_when_they_are_too_large(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "MOST_BYTES", 10_000)
    monkeypatch.setattr(inboxes, "STEP_BYTES", 1_000)
    for number in range(1, 21):
        send(alice, bob, number, 900)
    kept = numbers(bob)
    assert kept == list(range(kept[0], 21))
    assert 8 <= len(kept) <= 10


def test_other_servers_messages_are_bounded_too(bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "MOST_MESSAGES", 10)
    monkeypatch.setattr(inboxes, "STEP_MESSAGES", 5)
    send_remote(ServerName("there.example"), bob, range(1, 41))
    assert numbers(bob) == list(range(31, 41))


def test_what_was_acknowledged_does_not_count(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "MOST_MESSAGES", 10)
    monkeypatch.setattr(inboxes, "STEP_MESSAGES", 5)
    for number in range(1, 9):
        send(alice, bob, number)
    to_device.acknowledge(UserId(bob.user_id), DeviceId(bob.device_id), 8)
    for number in range(9, 19):
        send(alice, bob, number)
    assert numbers(bob) == list(range(9, 19))


def test_a_look_that_was_missed_is_made_up_for(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function may stop after it stores a message and before it checks whether there are too many."""
    monkeypatch.setattr(inboxes, "MOST_MESSAGES", 10)
    monkeypatch.setattr(inboxes, "STEP_MESSAGES", 5)
    with monkeypatch.context() as stopped:
        stopped.setattr(inboxes, "trim", lambda _: None)
        for number in range(1, 30):
            send(alice, bob, number)
    assert len(numbers(bob)) == 29
    send(alice, bob, 30)
    assert numbers(bob) == list(range(21, 31))


def test_an_inbox_from_before_bytes_were_counted(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its messages are deleted by their number, not by bytes, which weren't counted."""
    stream = streams.device_stream(UserId(bob.user_id), DeviceId(bob.device_id))
    for number in range(1, 6):
        item = {
            "sk": f"{inboxes.PREFIX}old{number}",
            "event": f'{{"content":{{"n":{number}}}}}',
            "received_ms": 1,
        }
        streams.append(stream, lambda item=item: [item])  # type: ignore[misc]
    monkeypatch.setattr(inboxes, "MOST_MESSAGES", 10)
    monkeypatch.setattr(inboxes, "STEP_MESSAGES", 5)
    for number in range(6, 15):
        send(alice, bob, number)
    assert numbers(bob) == list(range(1, 15))
    send(alice, bob, 15)
    assert numbers(bob) == list(range(6, 16))


def test_a_message_between_two_steps_looks_at_nothing(alice: Client, bob: Client) -> None:
    send(alice, bob, 1)
    with Meter() as meter:
        send(alice, bob, 2)
    operations = {request.operation for request in meter.spent.requests}
    assert "TransactWriteItems" in operations
    assert not operations & {"Query", "BatchWriteItem"}
