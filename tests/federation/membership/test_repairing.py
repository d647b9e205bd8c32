"""An operator gives a room up, or gets it again from another server."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.federation.membership.repairing import forget_room, rejoin_room
from murmuration.protocol.errors import Forbidden, NotFound
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.room import Room
from tests.federation.hosting import Host
from tests.federation.membership.test_invites import sync
from tests.federation.membership.test_joining import join
from tests.in_process import Client
from tests.rooms.other_servers import current_state
from tests.rooms.people import create_room, ok, path

pytestmark = pytest.mark.usefixtures("jobs")


@pytest.mark.parametrize("version", ["1", "6", "12"])
def test_the_other_servers_state_takes_the_place_of_ours(alice: Client, host: Host, version: str) -> None:
    """Our server missed the topic, and had a room name that the other server never accepted."""
    room = host.room(version)
    levels: dict[str, Any] = {"users": {alice.user_id: 50}, "state_default": 50}
    if not room.version.privileged_creators:
        levels["users"][room.creator] = 100
    room.add("m.room.power_levels", levels, "")
    ok(join(alice, room.room_id, host.remote.name))
    ok(alice.put(path(room.room_id, "state", "m.room.name", ""), {"name": "ours"}))
    room.add("m.room.topic", {"topic": "theirs"}, "")
    assert rejoin_room(RoomId(room.room_id)) == [alice.user_id]
    theirs = {pair: event.event_id for pair, event in room.state.items()}
    assert current_state(RoomId(room.room_id)) == theirs
    assert Room.load(RoomId(room.room_id)).head.extremities == (room.newest.event_id,)  # type: ignore[union-attr]
    shown = ok(alice.get(path(room.room_id, "state", "m.room.topic", "")))
    assert shown == {"topic": "theirs"}
    ok(alice.put(path(room.room_id, "send", "m.room.message", "1"), {"msgtype": "m.text", "body": "here"}))


def test_who_was_not_known_there_joins_too(alice: Client, bob: Client, host: Host) -> None:
    room = host.room("10")
    ok(join(alice, room.room_id, host.remote.name))
    ok(join(bob, room.room_id))
    assert room.membership(bob.user_id) is None
    assert set(rejoin_room(RoomId(room.room_id), [host.remote.name])) == {alice.user_id, bob.user_id}
    assert Room.load(RoomId(room.room_id)).membership(UserId(bob.user_id)) == "join"


def test_a_room_of_nobody_is_not_rejoined(alice: Client) -> None:
    room_id = RoomId(create_room(alice))
    with pytest.raises(NotFound):
        rejoin_room(room_id)
    ok(alice.post(path(room_id, "leave")))
    with pytest.raises(Forbidden):
        rejoin_room(room_id)
    with pytest.raises(NotFound):
        rejoin_room(RoomId("!none:example.org"))


def test_a_room_is_forgotten_by_everybody(alice: Client, bob: Client, host: Host) -> None:
    room = host.room("10")
    ok(join(alice, room.room_id, host.remote.name))
    ok(join(bob, room.room_id))
    assert dict(forget_room(RoomId(room.room_id))) == {alice.user_id: "", bob.user_id: ""}
    assert not Room.load(RoomId(room.room_id)).head.is_resident
    for user in (alice, bob):
        rooms = sync(user).get("rooms", {})
        assert room.room_id not in {**rooms.get("join", {}), **rooms.get("leave", {})}
    assert list(forget_room(RoomId(room.room_id))) == []
