"""Users of this server join restricted rooms of others: a user there has to vouch for them."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.protocol.pdus.signing import SigningKey, sign_event
from murmuration.storage.rooms import room_items
from tests.conftest import SERVER_NAME
from tests.federation.hosting import AUTHORISER, Host, HostedRoom
from tests.federation.membership.test_joining import join
from tests.federation.network import Network, Reply
from tests.federation.remote import Remote
from tests.in_process import Client
from tests.rooms.people import ok, refused

pytestmark = pytest.mark.usefixtures("jobs")
VERSIONS = ("8", "10", "11", "12")


def restricted_room(host: Host, version: str) -> HostedRoom:
    """Return a room whose creator vouches for all who come."""
    room = host.room(version, rule="restricted")

    def vouch(template: dict[str, Any]) -> None:
        template["event"]["content"][AUTHORISER] = room.creator
        template["event"]["auth_events"].append(room.state["m.room.member", room.creator].event_id)

    host.lies["make_join"] = vouch
    return room


@pytest.mark.parametrize("version", VERSIONS)
def test_a_join_has_the_signature_of_who_vouches(alice: Client, host: Host, version: str) -> None:
    room = restricted_room(host, version)
    ok(join(alice, room.room_id, host.remote.name))
    (entry,) = room_items.read_log(RoomId(room.room_id), room.version)
    assert entry.event.content[AUTHORISER] == room.creator
    assert host.remote.name in entry.event.pdu["signatures"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["none", "wrong", "unknown", "no event"])
def test_without_it_there_is_no_room(alice: Client, host: Host, version: str, kind: str) -> None:
    """Without the signature, all other servers in the room would reject the join."""
    room = restricted_room(host, version)

    def spoil(answer: dict[str, Any]) -> None:
        event: Any = {**answer["event"]}
        answer["event"] = event
        (key_id,) = event["signatures"][host.remote.name]
        event["signatures"] = {SERVER_NAME: event["signatures"][SERVER_NAME]}
        if kind in ("wrong", "unknown"):
            key = SigningKey(b"w" * 32, key_id.partition(":")[2] if kind == "wrong" else "x")
            answer["event"] = sign_event(event, host.remote.name, key, room.version)
        elif kind == "no event":
            del answer["event"]

    host.lies["send_join"] = spoil
    refused(join(alice, room.room_id, host.remote.name), 502, "M_UNKNOWN")
    assert room_items.read_head(RoomId(room.room_id)) is None


@pytest.mark.parametrize("errcode", ["M_UNABLE_TO_AUTHORISE_JOIN", "M_UNABLE_TO_GRANT_JOIN"])
def test_many_servers_that_cannot_let_somebody_in(
    alice: Client, host: Host, network: Network, fresh_name: str, errcode: str
) -> None:
    """These servers don't forbid the join. The next server is asked, however many there are."""
    room = restricted_room(host, "11")
    unable = [Host(Remote(ServerName(f"{number}.{fresh_name}")), network) for number in range(5)]
    for each in unable:
        each.lies["make_join"] = lambda _: Reply({"errcode": errcode, "error": "No"}, 400)
    ok(join(alice, room.room_id, *(each.remote.name for each in unable), host.remote.name))
    assert room.membership(alice.user_id) == "join"
