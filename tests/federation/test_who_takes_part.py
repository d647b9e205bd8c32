"""Which servers take part in a room: its access control list and `m.federate`, at every endpoint.

Each endpoint that servers call is in one of two tables: it is about a room, and refuses a server that the
room's ACL denies, or it isn't, and why. The same goes for ephemeral data. A new one without an entry fails.
https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from murmuration.endpoint import Auth, Http, discover
from murmuration.federation.inbound.transactions import edus, working
from murmuration.federation.outbound import room_logs
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.protocol.pdus.building import complete_event
from murmuration.rooms.room import Room
from tests.budgets.meter import Meter
from tests.federation.inbound.conftest import _viewer_secret, peer, third, worker
from tests.federation.peers import Peer, Worker, share_room
from tests.in_process import Answer, Client, segment
from tests.rooms.other_servers import Mirror, log_ids
from tests.rooms.people import create_room, path, refused, send, set_state
from tests.sync.conftest import sqs

__all__ = ["_viewer_secret", "peer", "sqs", "third", "worker"]
V1, V2, UNSTABLE = (f"/_matrix/federation/{version}" for version in ("v1", "v2", "unstable"))
ACL = "m.room.server_acl"


@dataclass
class Scene:
    """A room of Alice's, an event in it, and a server with a user who is, or would be, in the room."""

    client: Client
    peer: Peer
    room_id: RoomId
    event_id: str
    mirror: Mirror

    @property
    def user(self) -> UserId:
        return UserId(f"@bob:{self.peer.name}")

    def get(self, *parts: str, api: str = V1, **query: Any) -> Answer:
        return self.peer.call("GET", "/".join([api, *map(segment, parts)]), **query)

    def put(self, body: Any, *parts: str, api: str = V1) -> Answer:
        return self.peer.call("PUT", "/".join([api, *map(segment, parts)]), body)

    def member(self, membership: str, user_id: UserId, sender: UserId | None = None) -> Event:
        return self.mirror.member(sender or user_id, user_id, membership, learn=False)

    def hand_in(self, what: str, *, api: str = V2) -> Answer:
        """Send an event with send_join or a similar endpoint."""
        event = self.member(what, UserId(f"@new:{self.peer.name}"))
        return self.put(event.pdu, f"send_{what}", self.room_id, event.event_id, api=api)

    def invite(self, *, api: str) -> Answer:
        draft = self.member("invite", UserId(self.client.user_id), self.user).pdu
        bare = {name: value for name, value in draft.items() if name not in ("hashes", "signatures")}
        pdu = {**bare, "origin": self.peer.name}
        event = complete_event(pdu, ServerName(self.peer.name), self.peer.key, self.mirror.version)
        body = event.pdu if api == V1 else {"event": event.pdu, "room_version": self.mirror.version.id}
        return self.put(body, "invite", self.room_id, event.event_id, api=api)

    def exchange(self) -> Answer:
        content = {"membership": "invite", "third_party_invite": {"display_name": "x", "signed": {}}}
        body = {
            "type": "m.room.member", "room_id": self.room_id, "sender": self.client.user_id,
            "state_key": self.user, "content": content,
        }  # fmt: skip
        return self.put(body, "exchange_third_party_invite", self.room_id)


Ask = Callable[[Scene], Answer]
ABOUT_ROOMS: dict[str, Ask] = {
    "backfill_room": lambda it: it.get("backfill", it.room_id, v=it.event_id, limit=1),
    "get_missing_events": lambda it: it.peer.call(
        "POST", f"{V1}/get_missing_events/{segment(it.room_id)}", {"latest_events": [it.event_id]}
    ),
    "get_event_auth": lambda it: it.get("event_auth", it.room_id, it.event_id),
    "get_event": lambda it: it.get("event", it.event_id),
    "get_event_by_timestamp": lambda it: it.get("timestamp_to_event", it.room_id, ts=0, dir="f"),
    "get_room_state": lambda it: it.get("state", it.room_id, event_id=it.event_id),
    "get_room_state_ids": lambda it: it.get("state_ids", it.room_id, event_id=it.event_id),
    "get_space_hierarchy": lambda it: it.get("hierarchy", it.room_id),
    "get_room_complexity": lambda it: it.get("rooms", it.room_id, "complexity", api=UNSTABLE),
    "send_invite": lambda it: it.invite(api=V2),
    "send_invite_v1": lambda it: it.invite(api=V1),
    "make_join": lambda it: it.get("make_join", it.room_id, f"@new:{it.peer.name}", ver=it.mirror.version.id),
    "send_join": lambda it: it.hand_in("join"),
    "make_knock": lambda it: it.get(
        "make_knock", it.room_id, f"@new:{it.peer.name}", ver=it.mirror.version.id
    ),
    "send_knock": lambda it: it.hand_in("knock", api=V1),
    "make_leave": lambda it: it.get("make_leave", it.room_id, it.user),
    "send_leave": lambda it: it.hand_in("leave"),
    "exchange_third_party_invite": lambda it: it.exchange(),
}
"""How another server asks each endpoint that is about one room."""
FOR_OLD_ROOMS = ("send_invite_v1",)
"""Endpoints for rooms of versions 1 and 2 alone."""
NOT_ABOUT_A_ROOM = {
    "publicRooms": "lists what is published, without rooms that are for this server's users alone",
    "query/": "about an alias, which lets nobody in whom the room denies, or about a user",
    "send/": "has events of any room: whoever works through them asks each room",
    "user/": "about users and their devices",
    "media/": "about a file",
    "3pid/": "an identity server's: the rooms of the invites are asked as for any other invite",
}
"""How the paths of the others go on, and why the list says nothing about them."""
EDUS_ABOUT_ROOMS: dict[str, Callable[[Scene], dict[str, Any]]] = {
    "m.typing": lambda it: {"room_id": it.room_id, "user_id": it.user, "typing": True},
    "m.receipt": lambda it: {
        it.room_id: {"m.read": {it.user: {"event_ids": [it.event_id], "data": {"ts": 1}}}}
    },
}
EDUS_ABOUT_USERS = frozenset(
    (
        "m.presence",
        "m.direct_to_device",
        "m.device_list_update",
        "m.signing_key_update",
        "org.matrix.signing_key_update",
    )
)


def called_by_servers() -> dict[str, str]:
    """Return the endpoints that servers call: how the path goes on after the version, by the
    function's name.
    """
    return {
        function.name.removeprefix("server_server-"): path.split("/", 4)[4]
        for function in discover()
        if isinstance(function.route, Http) and function.route.auth is Auth.SERVER
        for _, path in function.route.all
    }


def make_scene(client: Client, peer: Peer, version: str = "12", **body: Any) -> Scene:
    room_id = RoomId(create_room(client, preset="public_chat", room_version=version, **body))
    mirror = peer.mirror = Mirror(room_id)
    if body.get("creation_content", {}).get("m.federate") is not False:
        bob = UserId(f"@bob:{peer.name}")
        assert mirror.kinds(mirror.member(bob, bob, "join")) == ["accepted"]
    return Scene(client, peer, room_id, send(client, room_id, "hello"), mirror)


def outcome(answer: Answer) -> tuple[int, str]:
    return answer.status, "" if answer.status == 200 else answer.json["errcode"]


def version_for(endpoint: str) -> str:
    return "1" if endpoint in FOR_OLD_ROOMS else "11"


def test_each_endpoint_is_in_a_table() -> None:
    missing = {
        name
        for name, path in called_by_servers().items()
        if name not in ABOUT_ROOMS and not path.startswith(tuple(NOT_ABOUT_A_ROOM))
    }
    assert not missing, f"say in one of the tables whether these are about a room: {missing}"


def test_each_kind_of_ephemeral_data_is_in_a_table() -> None:
    missing = set(edus.CONSUMERS) - EDUS_ABOUT_ROOMS.keys() - EDUS_ABOUT_USERS
    assert not missing, f"say in one of the tables whether these are about a room: {missing}"


@pytest.mark.parametrize("endpoint", ABOUT_ROOMS)
def test_a_server_that_the_room_denies_is_refused(alice: Client, peer: Peer, endpoint: str) -> None:
    scene = make_scene(alice, peer, version_for(endpoint))
    ask = ABOUT_ROOMS[endpoint]
    before = ask(scene)
    set_state(alice, scene.room_id, ACL, {"allow": ["*"], "deny": [peer.name]})
    scene.mirror.catch_up()
    log = log_ids(scene.room_id)
    refused(ask(scene), 403, "M_FORBIDDEN")
    assert log_ids(scene.room_id) == log
    set_state(alice, scene.room_id, ACL, {"allow": ["*"]})
    scene.mirror.catch_up()
    after = ask(scene)
    assert outcome(after) == outcome(before), after.body


@pytest.mark.parametrize("endpoint", ABOUT_ROOMS)
def test_a_room_without_federation_is_nobody_else_s(alice: Client, peer: Peer, endpoint: str) -> None:
    scene = make_scene(alice, peer, version_for(endpoint), creation_content={"m.federate": False})
    log = log_ids(scene.room_id)
    answer = ABOUT_ROOMS[endpoint](scene)
    assert outcome(answer) in ((403, "M_FORBIDDEN"), (404, "M_NOT_FOUND"))
    assert log_ids(scene.room_id) == log


def test_events_of_a_denied_server_are_ignored(
    alice: Client, peer: Peer, third: Peer, worker: Worker
) -> None:
    """The server that sends the events counts, not the events' senders. This also holds for queued events."""
    scene = make_scene(alice, peer)
    scene.mirror.send(scene.member("join", UserId(f"@bob:{third.name}")))
    scene.mirror.catch_up()
    message = scene.mirror.message(scene.user, "hello")
    peer.send(message)
    set_state(alice, scene.room_id, ACL, {"allow": ["*"], "deny": [peer.name]})
    worker.run()
    assert message.event_id not in log_ids(scene.room_id)
    counts = working.work({"origin": peer.name, "room_id": scene.room_id, "pdus": [message.pdu]})
    assert counts == {"denied_by_acl": 1}
    third.send(message)
    worker.run()
    assert message.event_id in log_ids(scene.room_id)


def test_events_of_a_room_without_federation(alice: Client, peer: Peer, worker: Worker) -> None:
    scene = make_scene(alice, peer, creation_content={"m.federate": False})
    log = log_ids(scene.room_id)
    peer.send(scene.member("join", scene.user), scene.mirror.message(scene.user, "hello", learn=False))
    worker.run()
    assert log_ids(scene.room_id) == log


@pytest.mark.parametrize("edu_type", [it for it in EDUS_ABOUT_ROOMS if it in edus.CONSUMERS] or ["m.typing"])
def test_ephemeral_data_of_a_denied_server_is_ignored(alice: Client, peer: Peer, edu_type: str) -> None:
    scene = make_scene(alice, peer)
    set_state(alice, scene.room_id, ACL, {"allow": ["*"], "deny": [peer.name]})
    edu = {"edu_type": edu_type, "content": EDUS_ABOUT_ROOMS[edu_type](scene)}
    with Meter() as meter:
        edus.take_edus(ServerName(peer.name), [edu])
    assert meter.spent.write_units == 0, str(meter.spent)


def test_to_whom_our_events_go(alice: Client, peer: Peer, third: Peer) -> None:
    mirror = share_room(alice, peer, third)
    both = [ServerName(peer.name), ServerName(third.name)]
    assert room_logs.may_hear(Room.load(mirror.room_id), both) == both
    set_state(alice, mirror.room_id, ACL, {"allow": ["*"], "deny": [peer.name]})
    assert room_logs.may_hear(Room.load(mirror.room_id), both) == both, "who is in the room is told"
    local = RoomId(create_room(alice, creation_content={"m.federate": False}))
    assert room_logs.may_hear(Room.load(local), both) == []


def test_whom_our_users_may_invite(alice: Client, peer: Peer) -> None:
    invite = {"user_id": f"@bob:{peer.name}"}
    barred = create_room(alice)
    set_state(alice, barred, ACL, {"allow": ["example.org"]})
    for room_id in (barred, create_room(alice, creation_content={"m.federate": False})):
        refused(alice.post(path(room_id, "invite"), invite), 403, "M_FORBIDDEN")
    assert peer.asked == []
