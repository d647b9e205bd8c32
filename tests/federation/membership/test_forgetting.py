"""An operator gives a room up."""

from __future__ import annotations

import pytest

from murmuration.federation.membership.leaving import forget_room
from murmuration.rooms.room import Room
from tests.federation.hosting import Host
from tests.federation.membership.test_invites import sync
from tests.federation.membership.test_joining import join
from tests.in_process import Client
from tests.rooms.people import ok

pytestmark = pytest.mark.usefixtures("jobs")


def test_a_room_is_forgotten_by_everybody(alice: Client, bob: Client, host: Host) -> None:
    room = host.room("10")
    ok(join(alice, room.room_id, host.remote.name))
    ok(join(bob, room.room_id))
    assert dict(forget_room(room.room_id)) == {alice.user_id: "", bob.user_id: ""}
    assert not Room.load(room.room_id).head.is_resident
    for user in (alice, bob):
        rooms = sync(user).get("rooms", {})
        assert room.room_id not in {**rooms.get("join", {}), **rooms.get("leave", {})}
    assert list(forget_room(room.room_id)) == []
