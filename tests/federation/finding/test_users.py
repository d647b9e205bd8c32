"""The user directory finds users of other servers: members of one's rooms, and of published open rooms."""

from __future__ import annotations

from typing import Any

import pytest

from tests.federation.asking import Peer
from tests.in_process import Client
from tests.rooms.people import V3, create_room, invite, join, ok, set_state


def found(client: Client, term: str) -> list[dict[str, Any]]:
    answer = ok(client.post(f"{V3}/user_directory/search", {"search_term": term, "limit": 50}))
    results: list[dict[str, Any]] = answer["results"]
    return results


def enter(peer: Peer, room_id: str, user_id: str, **content: Any) -> None:
    """Let a user of the other server join a room of this one."""
    made = peer.make("join", room_id, user_id)
    ok(made)
    event = peer.complete(made, content={"membership": "join", **content})
    ok(peer.send("join", room_id, event))


@pytest.fixture
def name(fresh_name: str) -> str:
    return fresh_name.replace(".", "").replace("-", "")


def test_members_of_ones_rooms(alice: Client, bob: Client, peer: Peer, name: str) -> None:
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    enter(peer, room_id, peer.user(name), displayname="Rory Byrne", avatar_url="mxc://a/b")
    shown = {"user_id": peer.user(name), "display_name": "Rory Byrne", "avatar_url": "mxc://a/b"}
    for client in (alice, bob):
        assert found(client, name) == found(client, f"byrne {name}") == [shown]


@pytest.mark.parametrize("open_by", ["joining", "reading"])
def test_members_of_published_open_rooms(
    alice: Client, bob: Client, peer: Peer, name: str, open_by: str
) -> None:
    room_id = create_room(alice, preset="public_chat", visibility="public")
    enter(peer, room_id, peer.user(name))
    if open_by == "reading":
        set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "world_readable"})
        set_state(alice, room_id, "m.room.join_rules", {"join_rule": "invite"})
    assert [each["user_id"] for each in found(bob, name)] == [peer.user(name)]


@pytest.mark.parametrize("rule", ["invite", "knock"])
@pytest.mark.parametrize("visibility", ["public", "private"])
def test_members_of_others_closed_rooms_are_not_found(
    alice: Client, bob: Client, peer: Peer, name: str, rule: str, visibility: str
) -> None:
    room_id = create_room(alice, preset="public_chat", visibility=visibility)
    enter(peer, room_id, peer.user(name))
    set_state(alice, room_id, "m.room.join_rules", {"join_rule": rule})
    assert found(bob, name) == []
    assert len(found(alice, name)) == 1
    invite(alice, room_id, bob)
    assert found(bob, name) == [], "an invite shows no members"
    ok(peer.go("leave", room_id, peer.user(name)))
    assert found(alice, name) == []
