"""The hierarchy of our spaces, as other servers query it."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.federation.serving import hierarchy
from murmuration.protocol.identifiers import RoomId, UserId
from tests.federation.asking import FED, Peer, body_of
from tests.federation.finding.conftest import Elsewhere
from tests.in_process import Answer, Client, segment
from tests.rooms.other_servers import Mirror
from tests.rooms.people import create_room, leave, ok, path, refused, set_state


def space(client: Client, name: str, **body: Any) -> RoomId:
    more = {"preset": "public_chat", **body}
    return RoomId(create_room(client, name=name, creation_content={"type": "m.space"}, **more))


def child(client: Client, parent: str, room_id: str, **content: Any) -> None:
    set_state(client, parent, "m.space.child", {"via": ["example.org"], **content}, room_id)


def ask(peer: Peer, room_id: str, **query: Any) -> Answer:
    return peer.get(f"{FED}/v1/hierarchy/{segment(room_id)}", **query)


def admit(room_id: RoomId, user_id: UserId, membership: str = "join") -> None:
    """Let a user of another server join one of our rooms."""
    mirror = Mirror(room_id)
    mirror.send(mirror.member(user_id, user_id, membership))


def restricted(client: Client, name: str, *allowed: str, rule: str = "restricted") -> str:
    allow = [{"type": "m.room_membership", "room_id": room_id} for room_id in allowed]
    rules = {"join_rule": rule, "allow": allow}
    state = [{"type": "m.room.join_rules", "state_key": "", "content": rules}]
    return create_room(client, name=name, preset="private_chat", initial_state=state)


def test_one_level_by_what_the_server_may_know(alice: Client, peer: Peer) -> None:
    root, inner = space(alice, "root"), space(alice, "inner")
    public = create_room(alice, name="public", preset="public_chat")
    private = create_room(alice, name="private", preset="private_chat")
    deep = create_room(alice, name="deep", preset="public_chat")
    child(alice, inner, deep)
    for number, room_id in enumerate((inner, public, private, "!unknown:elsewhere.org", root)):
        child(alice, root, room_id, order=str(number), suggested=room_id == public)
    found = body_of(ask(peer, root))
    assert (found["room"]["name"], found["room"]["room_type"]) == ("root", "m.space")
    told = [it["state_key"] for it in found["room"]["children_state"]]
    assert told == [inner, public, private, "!unknown:elsewhere.org", root]
    assert [room["name"] for room in found["children"]] == ["inner", "public"]
    assert all("children_state" not in room for room in found["children"])
    assert found["inaccessible_children"] == [private]
    suggested = body_of(ask(peer, root, suggested_only="true"))
    assert [it["state_key"] for it in suggested["room"]["children_state"]] == [public]
    assert [room["name"] for room in suggested["children"]] == ["public"]
    assert suggested["inaccessible_children"] == []
    plain = body_of(ask(peer, public))
    assert (plain["room"]["children_state"], plain["children"]) == ([], [])


def test_rooms_that_a_server_may_not_know(alice: Client, peer: Peer) -> None:
    gone = create_room(alice, preset="public_chat")
    leave(alice, gone)
    local = create_room(alice, preset="public_chat", creation_content={"m.federate": False})
    private = create_room(alice, preset="private_chat")
    for room_id in (private, gone, local, "!unknown:example.org", "!" + "x" * 300):
        refused(ask(peer, room_id), 404, "M_NOT_FOUND")
    set_state(alice, private, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert body_of(ask(peer, private))["room"]["world_readable"] is True
    set_state(alice, private, "m.room.server_acl", {"allow": ["*"], "deny": [peer.name]})
    refused(ask(peer, private), 403, "M_FORBIDDEN")
    refused(alice.get(f"{FED}/v1/hierarchy/{segment(gone)}"), 401, "M_UNAUTHORIZED")
    refused(ask(peer, local, suggested_only="x"), 400, "M_INVALID_PARAM")


def test_children_that_exclude_the_server(alice: Client, peer: Peer) -> None:
    root = space(alice, "root")
    barred = create_room(alice, preset="public_chat")
    set_state(alice, barred, "m.room.server_acl", {"allow": ["example.org"]})
    local = create_room(alice, preset="public_chat", creation_content={"m.federate": False})
    for room_id in (barred, local):
        child(alice, root, room_id)
    found = body_of(ask(peer, root))
    assert (found["children"], set(found["inaccessible_children"])) == ([], {barred, local})


def test_who_is_in_a_room_or_invited_may_know_of_it(alice: Client, peer: Peer) -> None:
    invited, joined = (RoomId(create_room(alice, preset="private_chat")) for _ in range(2))
    mirror = Mirror(invited)
    mirror.send(mirror.member(UserId(alice.user_id), peer.user(), "invite"))
    assert body_of(ask(peer, invited))["room"]["room_id"] == invited
    mirror = Mirror(joined)
    mirror.send(mirror.member(UserId(alice.user_id), peer.user(), "invite"))
    mirror.send(mirror.member(UserId(peer.user()), peer.user(), "join"))
    assert body_of(ask(peer, joined))["room"]["num_joined_members"] == 2
    mirror.send(mirror.member(UserId(peer.user()), peer.user(), "leave"))
    refused(ask(peer, joined), 404, "M_NOT_FOUND")


@pytest.mark.parametrize("rule", ["restricted", "knock_restricted"])
def test_restricted_rooms(alice: Client, peer: Peer, rule: str) -> None:
    club = RoomId(create_room(alice, name="club", preset="public_chat"))
    root = space(alice, "root")
    room_id = restricted(alice, "members", "!elsewhere:x.example", club, rule=rule)
    child(alice, root, room_id)
    if rule == "restricted":
        refused(ask(peer, room_id), 404, "M_NOT_FOUND")
        assert body_of(ask(peer, root))["inaccessible_children"] == [room_id]
    admit(club, UserId(peer.user()))
    (found,) = body_of(ask(peer, root))["children"]
    assert (found["join_rule"], found["allowed_room_ids"]) == (rule, ["!elsewhere:x.example", club])
    assert body_of(ask(peer, room_id))["room"]["name"] == "members"
    leave(alice, club)
    if rule == "restricted":
        refused(ask(peer, room_id), 404, "M_NOT_FOUND")


def test_many_children(alice: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer has only as many children as fit. The others can be asked for one by one."""
    root = space(alice, "root")
    rooms = [create_room(alice, preset="public_chat", topic="t" * 500) for _ in range(4)]
    for number, room_id in enumerate(rooms):
        child(alice, root, room_id, order=str(number))
    monkeypatch.setattr(hierarchy, "MOST_SUMMARIES", 3)
    found = body_of(ask(peer, root))
    assert [room["room_id"] for room in found["children"]] == rooms[:3]
    assert len(found["room"]["children_state"]) == 4
    monkeypatch.setattr(hierarchy, "LIST_BYTES", 2_800)
    shorter = body_of(ask(peer, root))
    assert 0 < len(shorter["children"]) < 3
    assert shorter["inaccessible_children"] == []


def test_the_answer_is_one_that_we_understand(alice: Client, peer: Peer, elsewhere: Elsewhere) -> None:
    """Our own answers pass the checks that we make of other servers' answers."""
    from murmuration.federation.finding import spaces

    root, public = space(alice, "root", topic="all"), create_room(alice, name="in", preset="public_chat")
    child(alice, root, public)
    served = ok(ask(peer, root))
    parsed = spaces._parse(root, served)
    assert (parsed.room, list(parsed.children.values())) == (served["room"], served["children"])
    assert ok(alice.get(path(root, "hierarchy", version="/_matrix/client/v1")))["rooms"][0] == served["room"]
