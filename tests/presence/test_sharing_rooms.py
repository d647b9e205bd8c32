"""Who is there is told to those who come to share a room, and by a first sync; set_presence=offline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.presence import telling
from murmuration.presence.status import STAY_MS
from murmuration.protocol.identifiers import UserId
from murmuration.storage.users import presence
from tests.in_process import Client, segment
from tests.presence.conftest import Clock
from tests.rooms.people import V3, create_room, invite, join, leave, ok
from tests.sync.client import Syncing

Make = Callable[..., Client]
Work = Callable[..., None]


def told(answer: Any) -> dict[str, str]:
    """Return the state by user, from a sync's answer."""
    events = answer.get("presence", {}).get("events", [])
    return {str(event["sender"]): event["content"]["presence"] for event in events}


def work_on_log(room_id: str) -> None:
    """Do what the Streams worker does about joins in a room."""
    telling.tell_of_joins(dynamodb.query("room-log", "room_id = :room", {":room": room_id}))


@pytest.fixture
def online(make_client: Make, clock: Clock, work: Work) -> tuple[Syncing, Syncing]:
    """Return Alice and Bob, who are both online and share no room."""
    alice, bob = Syncing(make_client("alice")), Syncing(make_client("bob"))
    for each in (alice, bob):
        each.sync()
        work(each.client)
    alice.sync()
    return alice, bob


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("invited", [False, True])
def test_two_who_come_to_share_a_room_see_each_other(
    online: tuple[Syncing, Syncing],
    make_client: Make,
    monkeypatch: pytest.MonkeyPatch,
    large: bool,
    invited: bool,
) -> None:
    alice, bob = online
    if large:
        monkeypatch.setattr(telling, "SMALL_ROOM", 1)
    room_id = create_room(alice.client, preset="public_chat")
    work_on_log(room_id)
    if large:  # somebody else is there, and sees Alice come
        join(make_client("carol"), room_id)
        join(make_client("dave"), room_id)
        telling.tell([presence.read(UserId(alice.client.user_id)) or {}])
    alice.sync()
    if invited:
        invite(alice.client, room_id, bob.client)
    join(bob.client, room_id)
    work_on_log(room_id)
    assert told(alice.sync())[bob.client.user_id] == "online"
    assert told(bob.sync())[alice.client.user_id] == "online"
    leave(bob.client, room_id)
    work_on_log(room_id)
    assert told(alice.sync()) == {}


def test_who_is_away_is_not_told_of(make_client: Make, clock: Clock, work: Work) -> None:
    alice, bob = Syncing(make_client("alice")), Syncing(make_client("bob"))
    alice.sync()
    bob.sync()
    clock.advance(STAY_MS)
    room_id = create_room(alice.client, preset="public_chat")
    alice.sync()
    join(bob.client, room_id)
    work_on_log(room_id)
    assert bob.client.user_id not in told(alice.sync())


def test_a_changed_name_tells_nobody_again(online: tuple[Syncing, Syncing]) -> None:
    alice, bob = online
    room_id = create_room(alice.client, preset="public_chat")
    join(bob.client, room_id)
    work_on_log(room_id)
    alice.sync()
    ok(bob.client.put(f"{V3}/profile/{segment(bob.client.user_id)}/displayname", {"displayname": "B"}))
    items = dynamodb.query("room-log", "room_id = :room", {":room": room_id})
    telling.tell_of_joins([items[-1]])
    assert told(alice.sync()) == {}


def test_a_first_sync_tells_who_is_there(online: tuple[Syncing, Syncing], make_client: Make) -> None:
    alice, bob = online
    offline = make_client("carol")
    room_id = create_room(alice.client, preset="public_chat")
    for each in (bob.client, offline):
        join(each, room_id)
    seen = told(Syncing(alice.client).sync())
    assert seen.pop(alice.client.user_id, "online") == "online"
    assert seen == {bob.client.user_id: "online"}
    hidden = Syncing(alice.client, filter={"presence": {"not_types": ["m.presence"]}})
    assert told(hidden.sync()) == {}
    leave(alice.client, room_id)
    assert bob.client.user_id not in told(Syncing(alice.client).sync())


@pytest.mark.parametrize("state", ["online", "unavailable"])
def test_asking_for_offline_leaves_alone_what_was_said(make_client: Make, clock: Clock, state: str) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    join(bob, create_room(alice, preset="public_chat"))
    status = f"{V3}/presence/{segment(bob.user_id)}/status"
    ok(bob.put(status, {"presence": state, "status_msg": "here"}))
    syncing = Syncing(bob)
    for _ in range(2):
        syncing.sync(set_presence="offline")
        seen = ok(alice.get(status))
        assert (seen["presence"], seen["status_msg"]) == (state, "here")
        clock.advance(STAY_MS // 3)
    clock.advance(STAY_MS // 3)
    syncing.sync(set_presence="offline")
    assert ok(alice.get(status))["presence"] == "offline"
    syncing.sync()
    assert ok(alice.get(status))["presence"] == "online"
