"""Phones that ring for calls: what Element Call sends, and what gateways are told of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.in_process import Client, segment
from tests.push.gateway import Gateway, Workers
from tests.push.test_gateways import add_pusher
from tests.rooms.people import V3, ok, send

RTC = "org.matrix.msc4075"


@pytest.fixture
def phone(alice: Client, gateway: Gateway, room_id: str) -> Client:
    add_pusher(alice, gateway)
    return alice


@pytest.mark.parametrize(
    ("mentions", "tweaks"),
    [
        ({"room": True, "user_ids": []}, {"highlight": True}),
        ({"user_ids": ["{user}"]}, {"sound": "default", "highlight": True}),
    ],
)
@pytest.mark.parametrize("event_type", [f"{RTC}.rtc.notification", f"{RTC}.call.notify"])
def test_a_call_rings_a_phone_at_once(
    phone: Client,
    bob: Client,
    room_id: str,
    gateway: Gateway,
    workers: Workers,
    event_type: str,
    mentions: dict[str, Any],
    tweaks: dict[str, Any],
) -> None:
    """Element Call rings in this way in rooms without encryption."""
    mentions = mentions | {"user_ids": [each.format(user=phone.user_id) for each in mentions["user_ids"]]}
    content = {"notification_type": "ring", "lifetime": 30_000, "sender_ts": 1, "m.mentions": mentions}
    event_id = send(bob, room_id, content, event_type)
    workers.run(room_id)
    (told,) = gateway.take()
    assert (told["event_id"], told["type"], told["prio"]) == (event_id, event_type, "high")
    assert told["devices"][0]["tweaks"] == tweaks


@pytest.mark.parametrize("rule", [{}, {"actions": ["notify"]}])
def test_a_call_without_mention_rings_nobody_but_who_wants_to_know_of_everything(
    phone: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers, rule: dict[str, Any]
) -> None:
    if rule:
        ok(phone.put(f"{V3}/pushrules/global/room/{segment(room_id)}", rule))
    send(bob, room_id, {"notification_type": "ring"}, f"{RTC}.rtc.notification")
    workers.run(room_id)
    assert [told["prio"] for told in gateway.take()] == (["high"] if rule else [])


def test_a_call_in_an_encrypted_room_rings_as_every_event_there(
    alice: Client, bob: Client, room_id: str, gateway: Gateway, workers: Workers
) -> None:
    """The phone decrypts the event, and rings."""
    add_pusher(alice, gateway, format="event_id_only")
    event_id = send(bob, room_id, {"algorithm": "m.megolm.v1.aes-sha2"}, "m.room.encrypted")
    workers.run(room_id)
    (told,) = gateway.take()
    assert (told["event_id"], told["prio"]) == (event_id, "high")
