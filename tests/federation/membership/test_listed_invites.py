"""Invites are in the list of notifications, those to rooms of other servers too, and can be reported."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.identifiers import UserId
from murmuration.push import notifications
from murmuration.storage import reports
from tests.federation.hosting import Host, HostedRoom
from tests.federation.membership.test_invites import invite
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, join, leave, ok, path, refused, send
from tests.rooms.people import invite as invite_here


def listed(client: Client, **query: Any) -> Any:
    return ok(client.get(f"{V3}/notifications", **query))


def ids(found: Any) -> list[str]:
    return [each["event"]["event_id"] for each in found["notifications"]]


def set_data(client: Client, name: str, content: Any) -> None:
    ok(client.put(f"{V3}/user/{segment(client.user_id)}/account_data/{name}", content))


def invited(host: Host, client: Client) -> HostedRoom:
    """Return a room to which a user is invited."""
    room = host.room("12", rule="invite")
    ok(invite(host, room, UserId(client.user_id)))
    return room


def invite_of(room: HostedRoom, client: Client) -> str:
    return room.state["m.room.member", client.user_id].event_id


def test_an_invite_is_listed(alice: Client, host: Host) -> None:
    room = invited(host, alice)
    (found,) = listed(alice)["notifications"]
    event = found["event"]
    assert found["room_id"] == room.room_id
    assert found["read"] is False
    assert found["actions"] == ["notify", {"set_tweak": "sound", "value": "default"}]
    assert event["event_id"] == invite_of(room, alice)
    assert (event["type"], event["sender"], event["state_key"]) == (
        "m.room.member",
        room.creator,
        alice.user_id,
    )
    assert event["content"]["membership"] == "invite"
    assert found["ts"] == event["origin_server_ts"]
    assert "room_id" not in event
    assert listed(alice, only="highlight") == {"notifications": []}


def test_invites_are_listed_among_messages_by_time(alice: Client, bob: Client, host: Host) -> None:
    room_id = create_room(bob)
    invite_here(bob, room_id, alice)
    join(alice, room_id)
    before = send(bob, room_id)
    rooms = [invited(host, alice) for _ in range(2)]
    after = send(bob, room_id)
    expected = [after, *(invite_of(room, alice) for room in rooms[::-1]), before]
    assert ids(listed(alice))[:4] == expected
    found: list[str] = []
    query: dict[str, Any] = {"limit": 1}
    while len(found) < 20:
        page = listed(alice, **query)
        found += ids(page)
        if "next_token" not in page:
            break
        query["from"] = page["next_token"]
    assert found[:4] == expected
    assert len(found) == len(set(found))


def test_pages_of_nothing_but_invites(alice: Client, host: Host) -> None:
    rooms = [invited(host, alice) for _ in range(3)]
    first = listed(alice, limit=2)
    second = listed(alice, limit=2, **{"from": first["next_token"]})
    assert [*ids(first), *ids(second)] == [invite_of(room, alice) for room in rooms[::-1]]
    assert "next_token" not in second


def test_not_one_that_has_ended_or_is_old(alice: Client, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    room = invited(host, alice)
    leave(alice, room.room_id)
    assert listed(alice) == {"notifications": []}
    invited(host, alice)
    assert len(listed(alice)["notifications"]) == 1
    monkeypatch.setattr(notifications, "OLDEST_MS", -60_000)
    assert listed(alice) == {"notifications": []}


def test_not_of_who_is_ignored_nor_while_invites_are_blocked(alice: Client, bob: Client, host: Host) -> None:
    room = invited(host, alice)
    here = create_room(bob)
    invite_here(bob, here, alice)
    assert len(listed(alice)["notifications"]) == 2
    set_data(alice, "m.ignored_user_list", {"ignored_users": {room.creator: {}}})
    assert [each["room_id"] for each in listed(alice)["notifications"]] == [here]
    set_data(alice, "m.ignored_user_list", {"ignored_users": {bob.user_id: {}}})
    assert [each["room_id"] for each in listed(alice)["notifications"]] == [room.room_id]
    set_data(alice, "m.ignored_user_list", {"ignored_users": {}})
    set_data(alice, "m.invite_permission_config", {"default_action": "block"})
    assert listed(alice) == {"notifications": []}


def test_a_room_that_one_is_invited_to_is_reported(alice: Client, bob: Client, host: Host) -> None:
    room = invited(host, alice)
    assert ok(alice.post(path(room.room_id, "report"), {"reason": "spam"})) == {}
    leave(alice, room.room_id)
    assert ok(alice.post(path(room.room_id, "report"), {"reason": "still"})) == {}
    found = [each for each in reports.read_all() if each.reporter == alice.user_id]
    assert [(each.room_id, each.reason) for each in found] == [
        (room.room_id, "spam"),
        (room.room_id, "still"),
    ]
    refused(bob.post(path(room.room_id, "report"), {"reason": ""}), 404, "M_NOT_FOUND")
