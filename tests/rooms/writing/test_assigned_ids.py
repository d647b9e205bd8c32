"""Rooms of versions 1 and 2, whose events name others by their hashes, from each function that adds any."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pytest

from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, join, ok, path, send

V2 = "/_matrix/client/v2"
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)

pytestmark = pytest.mark.parametrize("version", ["1", "2"])


@pytest.fixture
def registered(deployment: None) -> Client:
    """Return a user with a password."""
    name = f"assigned-{os.getpid()}-{next(_numbers)}"
    body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    found = ok(Client().post(f"{V3}/register", body))
    return Client(found["access_token"], found["user_id"], found["device_id"])


def membership(client: Client, room_id: str, user_id: str) -> dict[str, str]:
    return dict(ok(client.get(path(room_id, "state", "m.room.member", user_id))))


def test_a_profile_is_carried_into_them(
    make_client: Callable[..., Client], registered: Client, version: str
) -> None:
    alice = make_client("alice")
    room_id = create_room(alice, room_version=version, preset="public_chat")
    join(registered, room_id)
    send(alice, room_id)
    ok(registered.put(f"{V3}/profile/{segment(registered.user_id)}/displayname", {"displayname": "Bob"}))
    assert membership(alice, room_id, registered.user_id)["displayname"] == "Bob"


def test_who_is_deactivated_leaves_them(
    make_client: Callable[..., Client], registered: Client, version: str
) -> None:
    alice = make_client("alice")
    room_id = create_room(alice, room_version=version, preset="public_chat")
    join(registered, room_id)
    send(alice, room_id)
    identifier = {"type": "m.id.user", "user": registered.user_id}
    auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    ok(registered.post(f"{V3}/account/deactivate", {"auth": auth}))
    assert membership(alice, room_id, registered.user_id)["membership"] == "leave"


def test_a_deleted_alias_is_no_longer_their_canonical_one(
    make_client: Callable[..., Client], version: str
) -> None:
    alice, name = make_client("alice"), f"assigned-{os.getpid()}-{next(_numbers)}"
    room_id = create_room(alice, room_version=version, room_alias_name=name)
    send(alice, room_id)
    ok(alice.delete(f"{V3}/directory/room/{segment(f'#{name}:example.org')}"))
    assert ok(alice.get(path(room_id, "state", "m.room.canonical_alias", ""))) == {}


def test_one_with_much_state_is_made_in_version_2(make_client: Callable[..., Client], version: str) -> None:
    alice = make_client("alice")
    state = [{"type": "org.example", "state_key": str(key), "content": {}} for key in range(30)]
    made = ok(alice.post(f"{V2}/createRoom", {"room_version": version, "initial_state": state}))
    assert len(ok(alice.get(path(made["room_id"], "state")))) >= len(state)
