"""The list of notifications."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.push import notifications
from tests.in_process import Client
from tests.rooms.people import V3, create_room, invite, join, leave, ok, path, redact, refused, send


def listed(client: Client, **query: Any) -> Any:
    return ok(client.get(f"{V3}/notifications", **query))


def ids(found: Any) -> list[str]:
    return [each["event"]["event_id"] for each in found["notifications"]]


def test_what_others_said_is_listed_newest_first(alice: Client, bob: Client, room_id: str) -> None:
    second = create_room(bob)
    invite(bob, second, alice)
    join(alice, second)
    sent = [send(bob, room_id), send(bob, second), send(bob, room_id)]
    send(alice, second)
    found = listed(alice)
    messages = [each for each in found["notifications"] if each["event"]["type"] == "m.room.message"]
    assert [each["event"]["event_id"] for each in messages] == sent[::-1]
    assert [each["read"] for each in messages] == [False, True, False]
    assert messages[0]["room_id"] == room_id
    assert "room_id" not in messages[0]["event"]
    assert messages[0]["actions"][0] == "notify"
    assert "next_token" not in found


def test_a_receipt_makes_them_read(alice: Client, bob: Client, room_id: str) -> None:
    first = send(bob, room_id)
    ok(alice.post(path(room_id, "receipt", "m.read.private", first), {}))
    send(bob, room_id)
    assert [each["read"] for each in listed(alice, limit=2)["notifications"]] == [False, True]


def test_pages_have_each_once(alice: Client, bob: Client, room_id: str) -> None:
    sent = [send(bob, room_id) for _ in range(5)]
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = listed(alice, **query)
        found += ids(page)
        if "next_token" not in page:
            break
        query["from"] = page["next_token"]
        late = send(bob, room_id)
        assert late not in found
    assert found[:5] == sent[::-1]
    assert len(found) == len(set(found))


def test_only_highlights(alice: Client, bob: Client, room_id: str) -> None:
    content = {"msgtype": "m.text", "body": "you", "m.mentions": {"user_ids": [alice.user_id]}}
    event_id = send(bob, room_id, content)
    send(bob, room_id)
    assert ids(listed(alice, only="highlight")) == [event_id]


def test_neither_redacted_nor_old_nor_ignored_ones(
    alice: Client, bob: Client, room_id: str, monkeypatch
) -> None:
    redact(bob, room_id, send(bob, room_id))
    assert all(each["event"]["type"] != "m.room.message" for each in listed(alice)["notifications"])
    send(bob, room_id)
    ok(
        alice.put(
            f"{V3}/user/{alice.user_id}/account_data/m.ignored_user_list",
            {"ignored_users": {bob.user_id: {}}},
        )
    )
    assert all(each["event"]["type"] != "m.room.message" for each in listed(alice)["notifications"])
    monkeypatch.setattr(notifications, "OLDEST_MS", -60_000)
    assert listed(alice) == {"notifications": []}


@pytest.mark.parametrize("visibility", ["joined", "invited", "shared", "world_readable"])
def test_an_invite_is_listed_once_and_nothing_else_of_its_room(
    alice: Client, bob: Client, visibility: str
) -> None:
    content = {"history_visibility": visibility}
    room = create_room(bob, initial_state=[{"type": "m.room.history_visibility", "content": content}])
    invite(bob, room, alice)
    send(bob, room)
    (found,) = listed(alice)["notifications"]
    assert (found["room_id"], found["event"]["content"]["membership"]) == (room, "invite")
    assert (found["event"]["sender"], found["read"]) == (bob.user_id, False)
    leave(alice, room)
    assert listed(alice) == {"notifications": []}


def test_a_token_is_its_owners(alice: Client, bob: Client, room_id: str) -> None:
    for _ in range(3):
        send(bob, room_id)
    token = listed(alice, limit=1)["next_token"]
    refused(bob.get(f"{V3}/notifications", **{"from": token}), 400, "M_INVALID_PARAM")
    refused(alice.get(f"{V3}/notifications", **{"from": "x"}), 400, "M_INVALID_PARAM")
    refused(alice.get(f"{V3}/notifications", limit="x"), 400, "M_INVALID_PARAM")
    assert listed(alice, limit=0) == {"notifications": []}
    assert listed(alice, limit=0, **{"from": token}) == {"notifications": [], "next_token": token}
