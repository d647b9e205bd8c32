"""However somebody of another server is invited, their server signs the invite first."""

from __future__ import annotations

import pytest

from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.room import Room
from tests.conftest import SERVER_NAME
from tests.federation.hosting import Host
from tests.federation.network import Reply
from tests.in_process import Answer, Client
from tests.rooms.people import create_room, ok, path, refused

pytestmark = pytest.mark.usefixtures("jobs")

V2 = "/_matrix/client/v2"


def _by_state(alice: Client, room_id: str, guest: str) -> Answer:
    return alice.put(path(room_id, "state", "m.room.member", guest), {"membership": "invite"})


def _by_delayed_event(alice: Client, room_id: str, guest: str) -> Answer:
    where = path(room_id, "state", "m.room.member", guest)
    delay = {"org.matrix.msc4140.delay": 60_000}
    delay_id = ok(alice.put(where, {"membership": "invite"}, **delay))["delay_id"]
    return alice.post(f"/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delay_id}/send", {})


def _by_draft(alice: Client, room_id: str, guest: str) -> Answer:
    return alice.post(path(room_id, "invite", version=V2), {"user_id": guest})


def _by_batch(alice: Client, room_id: str, guest: str) -> Answer:
    event = {"type": "m.room.member", "state_key": guest, "content": {"membership": "invite"}}
    return alice.post(path(room_id, "send", version=V2), {"events": [event]})


WAYS = {
    "state endpoint": _by_state,
    "delayed event": _by_delayed_event,
    "draft": _by_draft,
    "batch": _by_batch,
}


@pytest.mark.parametrize("way", WAYS)
def test_however_a_guest_is_invited_their_server_signs_first(alice: Client, host: Host, way: str) -> None:
    room_id = RoomId(create_room(alice))
    guest = f"@guest:{host.remote.name}"
    ok(WAYS[way](alice, room_id, guest))
    assert len(host.invited) == 1
    event = Room.load(room_id).event("m.room.member", guest)
    assert event is not None
    assert event.membership == "invite"
    assert set(event.pdu["signatures"]) == {SERVER_NAME, host.remote.name}


@pytest.mark.parametrize("way", WAYS)
def test_however_a_guest_is_invited_a_refusal_leaves_no_invite(alice: Client, host: Host, way: str) -> None:
    room_id = RoomId(create_room(alice))
    guest = UserId(f"@guest:{host.remote.name}")
    host.lies["invite"] = lambda _: Reply({"errcode": "M_FORBIDDEN", "error": "No invites"}, 403)
    refused(WAYS[way](alice, room_id, guest), 403, "M_FORBIDDEN")
    assert Room.load(room_id).membership(guest) is None
