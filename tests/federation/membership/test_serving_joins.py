"""Users of other servers join rooms of this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from murmuration.endpoint import Request
from murmuration.federation.serving import answers
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
from murmuration.protocol.pdus.building import complete_event
from murmuration.protocol.pdus.signing import SigningKey, verify_event
from murmuration.protocol.room_versions import ROOM_VERSIONS
from murmuration.rooms.room import Room
from murmuration.server_keys import signing_key
from murmuration.storage.rooms import member_index, room_items
from tests.conftest import SERVER_NAME
from tests.federation.asking import VERSIONS, Peer, body_of
from tests.federation.remote import Remote
from tests.in_process import Client
from tests.rooms.people import create_room, ok, path, refused, send

NOBODY = "!nobody-knows:example.org"


def members(room_id: RoomId) -> set[str]:
    return set(member_index.read_present(Room.load(room_id).head))


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_user_joins(alice: Client, peer: Peer, version: str, api: str) -> None:
    room_id = RoomId(create_room(alice, preset="public_chat", room_version=version, name="Tea"))
    made = peer.make("join", room_id, peer.user())
    assert body_of(made)["room_version"] == version
    event = peer.complete(made)
    answer = body_of(peer.send("join", room_id, event, api=api))
    if api == "v1":
        assert answer[0] == 200
        answer = answer[1]
    known = ROOM_VERSIONS[version]
    state = [Event(pdu, known) for pdu in answer["state"]]
    assert {it.type for it in state} >= {
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.name",
    }
    assert peer.user() not in {it.state_key for it in state}
    chain = {Event(pdu, known).event_id for pdu in answer["auth_chain"]}
    cited = {event_id for it in [event, *state] for event_id in it.auth_events}
    assert cited <= chain
    assert Event(answer["event"], known).event_id == event.event_id
    assert members(room_id) == {alice.user_id, peer.user()}
    assert Room.load(room_id).head.extremities == (event.event_id,)


def test_the_room_s_members_see_the_join(alice: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="public_chat")
    since = ok(alice.get("/_matrix/client/v3/sync"))["next_batch"]
    body_of(peer.go("join", room_id, peer.user()))
    room = ok(alice.get("/_matrix/client/v3/sync", since=since))["rooms"]["join"][room_id]
    assert [event["state_key"] for event in room["timeline"]["events"]] == [peer.user()]


def test_this_server_tells_the_others_of_the_join(alice: Client, peer: Peer) -> None:
    room_id = RoomId(create_room(alice, preset="public_chat"))
    body_of(peer.go("join", room_id, peer.user()))
    *_, entry = room_items.read_log(room_id, ROOM_VERSIONS[RoomId("12")])
    assert (entry.event.sender, entry.relayed) == (peer.user(), True)


def test_what_was_said_during_a_join_reaches_the_joining_server(alice: Client, peer: Peer) -> None:
    """The event was sent to the servers that were in the room then. A later event makes the new server ask
    for it.
    """
    room_id = create_room(alice, preset="public_chat")
    event = peer.complete(peer.make("join", room_id, peer.user()))
    said = send(alice, room_id, "while you were at the door")
    for _ in range(2):
        body_of(peer.send("join", room_id, event))
    *_, last = room_items.read_log(RoomId(room_id), ROOM_VERSIONS["12"])
    assert (last.event.type, last.withheld) == ("org.matrix.dummy_event", True)
    assert set(last.event.prev_events) == {said, event.event_id}
    assert Room.load(RoomId(room_id)).head.extremities == (last.event.event_id,)


def test_a_join_sent_twice_is_one(alice: Client, peer: Peer) -> None:
    room_id = RoomId(create_room(alice, preset="public_chat"))
    event = peer.complete(peer.make("join", room_id, peer.user()))
    first, second = (body_of(peer.send("join", room_id, event)) for _ in range(2))
    assert first == second
    assert Room.load(room_id).head.joined == 2


def test_members_may_be_left_out(alice: Client, bob: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="public_chat", name="Tea")
    ok(bob.post(path(room_id, "join")))
    event = peer.complete(peer.make("join", room_id, peer.user()))
    answer = body_of(peer.send("join", room_id, event, omit_members="true"))
    assert answer["members_omitted"] is True
    assert answer["servers_in_room"] == [SERVER_NAME]
    assert {pdu["type"] for pdu in answer["state"]} & {"m.room.member"} == set()
    told = {Event(pdu, ROOM_VERSIONS["12"]).event_id for pdu in answer[RoomId("state")]}
    chain = {Event(pdu, ROOM_VERSIONS["12"]).event_id for pdu in answer[RoomId("auth_chain")]}
    assert not told & chain
    assert {event_id for pdu in answer["state"] for event_id in pdu["auth_events"]} <= told | chain


def test_a_room_without_a_name_tells_some_members(alice: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="public_chat")
    event = peer.complete(peer.make("join", room_id, peer.user()))
    answer = body_of(peer.send("join", room_id, event, omit_members="true"))
    assert [pdu["state_key"] for pdu in answer["state"] if pdu["type"] == "m.room.member"] == [alice.user_id]


def test_what_no_template_is_made_of(alice: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="public_chat", room_version="11")
    refused(peer.make("join", NOBODY, peer.user()), 404, "M_NOT_FOUND")
    refused(peer.make("join", room_id, alice.user_id), 403, "M_FORBIDDEN")
    refused(peer.make("join", room_id, "rory"), 400, "M_INVALID_PARAM")
    for versions in (["1", "10"], None):
        answer = peer.make("join", room_id, peer.user(), versions)
        refused(answer, 400, "M_INCOMPATIBLE_ROOM_VERSION")
        assert answer.json["room_version"] == "11"


def test_a_room_that_is_closed(alice: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="private_chat")
    refused(peer.make("join", room_id, peer.user()), 403, "M_FORBIDDEN")


def test_a_room_without_federation(alice: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="public_chat", creation_content={"m.federate": False})
    refused(peer.make("join", room_id, peer.user()), 403, "M_FORBIDDEN")


def test_a_banned_user(alice: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="public_chat")
    ok(alice.post(path(room_id, "ban"), {"user_id": peer.user()}))
    refused(peer.make("join", room_id, peer.user()), 403, "M_FORBIDDEN")


def test_a_server_that_the_room_denies(alice: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="public_chat")
    event = peer.complete(peer.make("join", room_id, peer.user()))
    acl = {"allow": ["*"], "deny": [peer.name]}
    ok(alice.put(path(room_id, "state", "m.room.server_acl", ""), acl))
    refused(peer.make("join", room_id, peer.user()), 403, "M_FORBIDDEN")
    refused(peer.send("join", room_id, event), 403, "M_FORBIDDEN")


def test_a_room_that_all_of_ours_have_left(alice: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="public_chat")
    event = peer.complete(peer.make("join", room_id, peer.user("other")))
    body_of(peer.go("join", room_id, peer.user()))
    ok(alice.post(path(room_id, "leave")))
    refused(peer.make("join", room_id, peer.user("other")), 404, "M_NOT_FOUND")
    refused(peer.send("join", room_id, event), 404, "M_NOT_FOUND")


WRONG: list[tuple[str, Mapping[str, Any]]] = [
    ("another type", {"type": "m.room.name"}),
    ("another membership", {"content": {"membership": "leave"}}),
    ("another user's state", {"state_key": "@other:server.example"}),
    ("another server's user", {"sender": "@a:example.org", "state_key": "@a:example.org"}),
    ("another room", {"room_id": "!another:example.org"}),
]


@pytest.mark.parametrize(("_what", "changes"), WRONG, ids=[what for what, _ in WRONG])
def test_an_event_that_is_no_join(alice: Client, peer: Peer, _what: str, changes: Mapping[str, Any]) -> None:
    room_id = RoomId(create_room(alice, preset="public_chat", room_version="11"))
    event = peer.complete(peer.make("join", room_id, peer.user()), **changes)
    refused(peer.send("join", room_id, event), 400, "M_INVALID_PARAM")
    assert members(room_id) == {alice.user_id}


def test_an_event_without_its_server_s_signature(alice: Client, peer: Peer) -> None:
    room_id = RoomId(create_room(alice, preset="public_chat"))
    event = peer.complete(peer.make("join", room_id, peer.user()))
    unsigned = Event({**event.pdu, "signatures": {}}, event.room_version)
    refused(peer.send("join", room_id, unsigned), 400, "M_INVALID_PARAM")
    made = peer.make("join", room_id, peer.user())
    other = SigningKey(b"x" * 32, "r1")
    forged = complete_event(made.json["event"], ServerName(peer.name), other, event.room_version)
    refused(peer.send("join", room_id, forged), 400, "M_INVALID_PARAM")
    assert members(room_id) == {alice.user_id}


def test_an_event_with_a_wrong_hash_or_id(alice: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="public_chat", room_version="11")
    event = peer.complete(peer.make("join", room_id, peer.user()))
    changed = Event({**event.pdu, "content": {"membership": "join", "displayname": "?"}}, event.room_version)
    refused(peer.send("join", room_id, changed), 400, "M_INVALID_PARAM")
    other = Event(event.pdu, event.room_version, EventId("$" + "A" * 43))
    refused(peer.send("join", room_id, other), 400, "M_INVALID_PARAM")


def test_no_json_object(alice: Client, peer: Peer) -> None:
    room_id = create_room(alice, preset="public_chat")
    bodies: list[Any] = [[], "x", 1]
    for body in bodies:
        answer = peer.put(f"/_matrix/federation/v2/send_join/{room_id}/$x", body)
        refused(answer, 400, "M_INVALID_PARAM")


# -- Restricted rooms ------------------------------------------------------------------------------------


def restricted(alice: Client, *allowed: str, **more: Any) -> RoomId:
    allow = [{"type": "m.room_membership", "room_id": room_id} for room_id in allowed]
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    return RoomId(create_room(alice, initial_state=[rules], room_version=more.pop("version", "11"), **more))


@pytest.mark.parametrize("version", ["8", "10", "12"])
def test_a_member_of_an_allowed_room_joins(alice: Client, peer: Peer, version: str) -> None:
    lobby = create_room(alice, preset="public_chat")
    room_id = restricted(alice, lobby, version=version)
    refused(peer.make("join", room_id, peer.user()), 403, "M_FORBIDDEN")
    body_of(peer.go("join", lobby, peer.user()))
    made = peer.make("join", room_id, peer.user())
    assert made.json["event"]["content"]["join_authorised_via_users_server"] == alice.user_id
    event = peer.complete(made)
    answer = body_of(peer.send("join", room_id, event))
    key = signing_key()
    verify_event(
        answer[RoomId("event")], ServerName(SERVER_NAME), key.key_id, key.public_key, ROOM_VERSIONS[version]
    )
    assert peer.name in answer["event"]["signatures"]
    assert peer.user() in members(room_id)


def test_rooms_that_this_server_is_not_in(alice: Client, peer: Peer) -> None:
    room_id = restricted(alice, NOBODY)
    refused(peer.make("join", room_id, peer.user()), 400, "M_UNABLE_TO_AUTHORISE_JOIN")


def test_nobody_of_ours_may_let_somebody_in(alice: Client, peer: Peer) -> None:
    lobby = create_room(alice, preset="public_chat")
    room_id = restricted(alice, lobby)
    levels = {"users": {alice.user_id: 50}, "invite": 80, "state_default": 50}
    ok(alice.put(path(room_id, "state", "m.room.power_levels", ""), levels))
    body_of(peer.go("join", lobby, peer.user()))
    refused(peer.make("join", room_id, peer.user()), 400, "M_UNABLE_TO_GRANT_JOIN")


def test_a_join_that_names_one_of_ours_is_not_signed_for_a_stranger(alice: Client, peer: Peer) -> None:
    """The template isn't trusted. The rooms that allow the join are checked again."""
    lobby = create_room(alice, preset="public_chat")
    room_id = restricted(alice, lobby)
    body_of(peer.go("join", lobby, peer.user()))
    event = peer.complete(peer.make("join", room_id, peer.user()))
    body_of(peer.go("leave", lobby, peer.user()))
    refused(peer.send("join", room_id, event), 403, "M_FORBIDDEN")
    assert members(room_id) == {alice.user_id}


# -- Leaving and knocking --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_user_leaves(alice: Client, peer: Peer, version: str) -> None:
    room_id = RoomId(create_room(alice, preset="public_chat", room_version=version))
    for api in ("v1", "v2"):
        body_of(peer.go("join", room_id, peer.user()))
        event = peer.complete(peer.make("leave", room_id, peer.user()))
        assert body_of(peer.send("leave", room_id, event, api=api)) == ([200, {}] if api == "v1" else {})
        assert members(room_id) == {alice.user_id}
    refused(peer.make("leave", room_id, peer.user("other")), 403, "M_FORBIDDEN")


def test_a_user_knocks(alice: Client, peer: Peer) -> None:
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    room_id = RoomId(create_room(alice, initial_state=[rules], name="Tea"))
    answer = body_of(peer.go("knock", room_id, peer.user()))
    told = {pdu["type"]: pdu for pdu in answer["knock_room_state"]}
    assert told["m.room.name"]["content"] == {"name": "Tea"}
    assert Event(told[RoomId("m.room.create")], ROOM_VERSIONS["12"]).room_id == room_id
    assert Room.load(room_id).membership(UserId(peer.user())) == "knock"
    body_of(peer.go("leave", room_id, peer.user()))
    assert Room.load(room_id).membership(UserId(peer.user())) == "leave"


def test_a_room_that_takes_no_knocks(alice: Client, peer: Peer) -> None:
    for version in ("6", "11"):
        room_id = create_room(alice, preset="private_chat", room_version=version)
        refused(peer.make("knock", room_id, peer.user()), 403, "M_FORBIDDEN")
    refused(peer.make("knock", room_id, peer.user(), None), 400, "M_INCOMPATIBLE_ROOM_VERSION")


def test_another_server_s_signature_counts_for_nothing(
    alice: Client, peer: Peer, network: Any, fresh_name: str
) -> None:
    """Other implementations accepted the valid signature of any server as the sender's."""
    other = Remote(ServerName(f"other.{fresh_name}"), SigningKey(b"o" * 32, "o1"))
    other.serve(network)
    room_id = RoomId(create_room(alice, preset="public_chat"))
    made = peer.make("join", room_id, peer.user())
    event = Peer(other).complete(made)
    refused(peer.send("join", room_id, event), 400, "M_INVALID_PARAM")
    assert members(room_id) == {alice.user_id}


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_large_answer_is_compressed(
    alice: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    monkeypatch.setattr(answers, "PLAIN_BYTES", 100)
    monkeypatch.setattr(Request, "accepts_gzip", True)
    room_id = create_room(alice, preset="public_chat")
    event = peer.complete(peer.make("join", room_id, peer.user()))
    answer = peer.send("join", room_id, event, api=api)
    assert answer.headers["Content-Encoding"] == "gzip"
    told = body_of(answer)
    assert (told[1] if api == "v1" else told)["event"]["content"] == {"membership": "join"}


@pytest.mark.parametrize("limit", ["MOST_PLAIN_BYTES", "MOST_PACKED_BYTES"])
def test_a_join_whose_answer_would_be_too_large_is_not_taken(
    alice: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(answers, "MOST_PACKED_BYTES", 300 if limit == "MOST_PACKED_BYTES" else 4_200_000)
    monkeypatch.setattr(answers, "MOST_PLAIN_BYTES", 700)
    monkeypatch.setattr(Request, "accepts_gzip", limit == "MOST_PACKED_BYTES")
    room_id = RoomId(create_room(alice, preset="public_chat", name="Tea"))
    event = peer.complete(peer.make("join", room_id, peer.user()))
    refused(peer.send("join", room_id, event), 503, "M_UNKNOWN")
    assert members(room_id) == {alice.user_id}
    assert body_of(peer.send("join", room_id, event, omit_members="true"))["members_omitted"]
    assert members(room_id) == {alice.user_id, peer.user()}
