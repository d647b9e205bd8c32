"""The state endpoint changes memberships for which another server is needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.room import Room
from tests.federation.hosting import Host
from tests.federation.membership.test_invites import invite, sync
from tests.federation.network import Reply
from tests.in_process import Answer, Client, segment
from tests.rooms.people import V3, create_room, ok, path, refused

pytestmark = pytest.mark.usefixtures("jobs")


def set_member(client: Client, room_id: str, user_id: str, membership: str, **more: str) -> Answer:
    return client.put(path(room_id, "state", "m.room.member", user_id), {"membership": membership, **more})


@pytest.mark.parametrize("version", ["1", "6", "12"])
def test_an_invite_is_signed_by_the_users_server(alice: Client, host: Host, version: str) -> None:
    room_id = RoomId(create_room(alice, room_version=version))
    guest = f"@guest:{host.remote.name}"
    made = ok(set_member(alice, room_id, guest, "invite", reason="tea"))
    (asked,) = host.invited
    event = Room.load(room_id).event("m.room.member", guest)
    assert event is not None
    assert (event.event_id, event.content) == (made["event_id"], {"membership": "invite", "reason": "tea"})
    assert set(event.pdu["signatures"]) == {"example.org", host.remote.name}
    assert asked
    again = ok(set_member(alice, room_id, guest, "invite", reason="tea"))
    assert (again, len(host.invited)) == (made, 1)


def test_an_invite_that_the_users_server_refuses(alice: Client, host: Host) -> None:
    room_id = RoomId(create_room(alice))
    host.lies["invite"] = lambda _: Reply({"errcode": "M_FORBIDDEN", "error": "No"}, 403)
    guest = f"@guest:{host.remote.name}"
    refused(set_member(alice, room_id, guest, "invite"), 403, "M_FORBIDDEN")
    assert Room.load(room_id).event("m.room.member", guest) is None


def test_who_may_not_invite_asks_nobody(alice: Client, bob: Client, host: Host) -> None:
    room_id = create_room(alice)
    refused(set_member(bob, room_id, f"@guest:{host.remote.name}", "invite"), 403, "M_FORBIDDEN")
    assert host.invited == []


@pytest.mark.parametrize("user_id", ["nobody", "@x"])
def test_what_is_no_user_is_not_invited(alice: Client, user_id: str) -> None:
    room_id = create_room(alice)
    answer = alice.put(path(room_id, "state", "m.room.member", user_id), {"membership": "invite"})
    refused(answer, 400, "M_INVALID_PARAM")


@pytest.mark.parametrize("version", ["1", "12"])
def test_an_invite_is_rejected(alice: Client, host: Host, version: str) -> None:
    room = host.room(version, rule="invite")
    invite(host, room, UserId(alice.user_id))
    since = sync(alice)["next_batch"]
    made = ok(set_member(alice, room.room_id, alice.user_id, "leave", reason="no time"))
    assert room.membership(alice.user_id) == "leave"
    assert room.state["m.room.member", alice.user_id].event_id == made["event_id"]
    assert room.room_id in sync(alice, since)["rooms"]["leave"]
    ok(alice.post(path(room.room_id, "forget")))
    assert room.room_id not in sync(alice).get("rooms", {}).get("leave", {})


@pytest.mark.parametrize("version", ["1", "12"])
def test_an_invite_is_accepted(alice: Client, host: Host, version: str) -> None:
    room = host.room(version, rule="invite")
    invite(host, room, UserId(alice.user_id))
    made = ok(set_member(alice, room.room_id, alice.user_id, "join"))
    assert room.membership(alice.user_id) == "join"
    assert room.state["m.room.member", alice.user_id].event_id == made["event_id"]
    assert room.room_id in sync(alice)["rooms"]["join"]


def test_a_room_that_one_knows_nothing_of(alice: Client, host: Host) -> None:
    room = host.room()
    for membership in ("join", "leave"):
        refused(set_member(alice, room.room_id, alice.user_id, membership), 403, "M_FORBIDDEN")


ROUTES: list[Callable[[Client, str, str], Answer]] = [
    lambda client, room_id, _: client.post(f"{V3}/rooms/{segment(room_id)}/leave"),
    lambda client, room_id, user_id: set_member(client, room_id, user_id, "leave"),
    lambda client, room_id, _: client.post(f"/_matrix/client/r0/rooms/{segment(room_id)}/leave"),
    lambda client, room_id, _: client.post(f"/_matrix/client/api/v1/rooms/{segment(room_id)}/leave"),
]


@pytest.mark.parametrize("leave", ROUTES)
def test_each_way_out_of_an_invite(
    alice: Client, host: Host, leave: Callable[[Client, str, str], Answer]
) -> None:
    room = host.room("10", rule="invite")
    invite(host, room, UserId(alice.user_id))
    ok(leave(alice, room.room_id, alice.user_id))
    assert room.membership(alice.user_id) == "leave"
    assert room.room_id not in sync(alice).get("rooms", {}).get("invite", {})
    ok(alice.post(f"{V3}/rooms/{segment(room.room_id)}/forget"))
    assert room.room_id not in sync(alice).get("rooms", {}).get("leave", {})
    invite(host, room, UserId(alice.user_id))
    assert room.room_id in sync(alice)["rooms"]["invite"]
