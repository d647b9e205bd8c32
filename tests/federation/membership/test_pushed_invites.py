"""Invites to rooms of other servers ring phones, and are counted until they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from murmuration.aws import queues
from murmuration.protocol.identifiers import UserId
from murmuration.storage.users import unread
from tests.federation.hosting import Host, HostedRoom
from tests.federation.membership.test_invites import invite
from tests.in_process import Client, segment
from tests.push.gateway import Gateway, Workers, gateway
from tests.push.test_gateways import add_pusher
from tests.rooms.people import V3, leave, ok

__all__ = ["gateway"]
Jobs = list[dict[str, Any]]


@pytest.fixture
def workers(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()

    def send_each(name: str, bodies: Sequence[dict[str, Any]]) -> None:
        if name == "gateway-pushes":
            made.send_each(name, bodies)

    monkeypatch.setattr(queues, "send_each", send_each)
    return made


@pytest.fixture
def phone(alice: Client, gateway: Gateway) -> Client:
    add_pusher(alice, gateway)
    return alice


@pytest.fixture
def room(host: Host) -> HostedRoom:
    found = host.room("12", rule="invite")
    found.add("m.room.name", {"name": "Tea"}, "")
    return found


def invited(host: Host, room: HostedRoom, client: Client) -> str:
    """Let the room's creator invite a user, and return the invite's event ID."""
    ok(invite(host, room, UserId(client.user_id)))
    return room.state["m.room.member", client.user_id].event_id


def test_an_invite_rings(
    phone: Client, host: Host, room: HostedRoom, gateway: Gateway, workers: Workers
) -> None:
    event_id = invited(host, room, phone)
    workers.run(user_id=phone.user_id)
    (told,) = gateway.take()
    (device,) = told.pop("devices")
    assert device["tweaks"] == {"sound": "default"}
    content = room.state["m.room.member", phone.user_id].content
    assert told == {
        "event_id": event_id,
        "room_id": room.room_id,
        "type": "m.room.member",
        "sender": room.creator,
        "content": content,
        "room_name": "Tea",
        "user_is_target": True,
        "counts": {"unread": 1},
        "prio": "high",
    }
    workers.run(user_id=phone.user_id)
    assert [each["event_id"] for each in gateway.take()] == [event_id], "gateways know it by its ID"


def test_with_the_id_only(
    alice: Client, host: Host, room: HostedRoom, gateway: Gateway, workers: Workers
) -> None:
    add_pusher(alice, gateway, format="event_id_only")
    event_id = invited(host, room, alice)
    workers.run(user_id=alice.user_id)
    (told,) = gateway.take()
    assert told.keys() == {"event_id", "room_id", "counts", "prio", "devices"}
    assert told["event_id"] == event_id


def test_one_that_was_turned_down_counts_no_more(
    phone: Client, host: Host, room: HostedRoom, gateway: Gateway, workers: Workers
) -> None:
    invited(host, room, phone)
    workers.run(user_id=phone.user_id)
    assert [told["counts"] for told in gateway.take()] == [{"unread": 1}]
    leave(phone, room.room_id)
    workers.run(user_id=phone.user_id)
    (told,) = gateway.take()
    assert (told["counts"], "event_id" in told) == ({"unread": 0}, False)


def test_one_that_ended_before_it_was_told_rings_nobody(
    phone: Client, host: Host, room: HostedRoom, gateway: Gateway, workers: Workers
) -> None:
    event_id = invited(host, room, phone)
    leave(phone, room.room_id)
    note = {"room_id": room.room_id, "invite": event_id, "tweaks": {}, "prio": "high"}
    workers.queue.append(({"user_id": phone.user_id, "note": note}, 0))
    workers.deliver()
    assert gateway.take() == []
    assert unread.read_total(UserId(phone.user_id)) == 0


@pytest.mark.parametrize("name", ["m.ignored_user_list", "m.invite_permission_config", "rules", "nobody"])
def test_who_wants_no_invites_is_not_rung(
    alice: Client, host: Host, room: HostedRoom, gateway: Gateway, workers: Workers, name: str
) -> None:
    data = f"{V3}/user/{segment(alice.user_id)}/account_data"
    if name != "nobody":
        add_pusher(alice, gateway)
    invited(host, room, alice)
    if name == "m.ignored_user_list":
        ok(alice.put(f"{data}/{name}", {"ignored_users": {room.creator: {}}}))
    elif name == "m.invite_permission_config":
        ok(alice.put(f"{data}/{name}", {"default_action": "block"}))
    elif name == "rules":
        rule = f"{V3}/pushrules/global/override/.m.rule.invite_for_me/enabled"
        ok(alice.put(rule, {"enabled": False}))
    workers.run(user_id=alice.user_id)
    assert gateway.take() == []
