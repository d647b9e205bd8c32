"""Joins, leaves, invites, kicks and bans between the servers."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Pair
from .people import Person, RequestRefused, eventually
from .servers import Ours, Theirs
from .test_talking import VERSIONS, agree, shared_room

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("synapse")]


def invited(pair: Pair, version: str, **body: Any) -> tuple[Person, Person, str]:
    """Return a room to which the guest is invited and has seen the invite."""
    host, guest = pair.people()
    room_id = host.create(version, rule="invite", name="Tea", **body)
    host.act(room_id, "invite", guest.user_id)
    guest.is_told(room_id, "invite")
    return host, guest, room_id


@pytest.mark.parametrize("version", ["1", "2", "6", "10", "11", "12"])
def test_an_invite_is_accepted(pair: Pair, version: str) -> None:
    host, guest, room_id = invited(pair, version)
    told = {(it["type"], it["state_key"]): it["content"] for it in guest.room(room_id).invite_state}
    assert told["m.room.name", ""] == {"name": "Tea"}
    assert told["m.room.member", guest.user_id]["membership"] == "invite"
    assert guest.join(room_id) == room_id
    host.sees_member(room_id, guest.user_id, "join")
    guest.is_told(room_id, "join")
    guest.say(room_id, "hello")
    host.hears(room_id, "hello")
    host.say(room_id, "welcome")
    guest.hears(room_id, "welcome")
    agree(room_id, host, guest)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_invite_at_creation_is_accepted(pair: Pair, version: str) -> None:
    host, guest = pair.people()
    room_id = host.create(version, rule="invite", invite=[guest.user_id], is_direct=True)
    guest.is_told(room_id, "invite")
    guest.join(room_id)
    host.sees_member(room_id, guest.user_id, "join")


@pytest.mark.parametrize("version", ["1", "12"])
def test_an_invite_by_the_state_endpoint(pair: Pair, version: str) -> None:
    host, guest = pair.people()
    room_id = host.create(version, rule="invite")
    host.put_state(room_id, "m.room.member", {"membership": "invite"}, guest.user_id)
    guest.is_told(room_id, "invite")
    guest.join(room_id)
    host.sees_member(room_id, guest.user_id, "join")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_invite_is_rejected(pair: Pair, version: str) -> None:
    host, guest, room_id = invited(pair, version)
    guest.act(room_id, "leave")
    guest.is_told(room_id, "leave")
    host.sees_member(room_id, guest.user_id, "leave")
    # Another one is possible, and can be accepted.
    host.act(room_id, "invite", guest.user_id)
    guest.is_told(room_id, "invite")
    guest.join(room_id)
    host.sees_member(room_id, guest.user_id, "join")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_invite_is_taken_back(pair: Pair, version: str) -> None:
    host, guest, room_id = invited(pair, version)
    host.act(room_id, "kick", guest.user_id)
    guest.is_told(room_id, "leave")
    with pytest.raises(RequestRefused) as refused:
        guest.join(room_id, host.server_name)
    assert refused.value.errcode == "M_FORBIDDEN"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_user_is_invited_from_the_other_server(pair: Pair, version: str) -> None:
    """Both servers know the room already. The invite comes once, as an event of the room."""
    host, guest, room_id = invited(pair, version)
    guest.join(room_id)
    host.sees_member(room_id, guest.user_id, "join")
    third = pair.host.person("third")
    guest.act(room_id, "invite", third.user_id)
    third.is_told(room_id, "invite")
    third.join(room_id)
    for person in (host, guest):
        person.sees_member(room_id, third.user_id, "join")
    agree(room_id, host, guest, third)


@pytest.mark.parametrize("version", VERSIONS)
def test_kicked_banned_and_unbanned(pair: Pair, version: str) -> None:
    host, guest, room_id = shared_room(pair, version)
    host.act(room_id, "kick", guest.user_id)
    guest.is_told(room_id, "leave")
    host.say(room_id, "not for the guest")
    guest.join(room_id, host.server_name)
    host.sees_member(room_id, guest.user_id, "join")
    guest.is_told(room_id, "join")
    host.act(room_id, "ban", guest.user_id)
    guest.is_told(room_id, "leave")
    assert guest.room(room_id).member(guest.user_id) == "ban"
    with pytest.raises(RequestRefused) as refused:
        guest.join(room_id, host.server_name)
    assert refused.value.errcode == "M_FORBIDDEN"
    host.act(room_id, "unban", guest.user_id)
    guest.join(room_id, host.server_name)
    host.sees_member(room_id, guest.user_id, "join")
    guest.is_told(room_id, "join")
    guest.say(room_id, "back")
    host.hears(room_id, "back")
    agree(room_id, host, guest)


@pytest.mark.parametrize("version", VERSIONS)
def test_left_and_joined_again(pair: Pair, version: str) -> None:
    """While nobody of a server is in the room, the server's state is outdated. The join goes over the other
    server.
    """
    host, guest, room_id = shared_room(pair, version)
    guest.act(room_id, "leave")
    host.sees_member(room_id, guest.user_id, "leave")
    guest.is_told(room_id, "leave")
    host.put_state(room_id, "m.room.topic", {"topic": "while away"})
    host.say(room_id, "while away")
    guest.join(room_id, host.server_name)
    guest.sees_state(room_id, "m.room.topic", {"topic": "while away"})
    host.sees_member(room_id, guest.user_id, "join")
    guest.say(room_id, "back")
    host.hears(room_id, "back")
    eventually(
        lambda: sorted(guest.history_texts(room_id)) == ["back", "while away"],
        "once",
    )
    agree(room_id, host, guest)


@pytest.mark.parametrize("version", ["7", "10", "12"])
def test_a_knock_is_answered(pair: Pair, version: str) -> None:
    host, guest = pair.people()
    room_id = host.create(version, rule="knock", name="Tea")
    guest.knock(room_id, host.server_name)
    guest.is_told(room_id, "knock")
    host.sees_member(room_id, guest.user_id, "knock")
    host.act(room_id, "invite", guest.user_id)
    guest.is_told(room_id, "invite")
    guest.join(room_id, host.server_name)
    host.sees_member(room_id, guest.user_id, "join")
    agree(room_id, host, guest)


@pytest.mark.parametrize("version", ["7", "12"])
def test_a_knock_is_taken_back(ours: Ours, theirs: Theirs, version: str) -> None:
    """Only for our users: Synapse doesn't tell other servers that its users withdraw knocks, and refuses
    ours.
    """
    host, guest = theirs.person("host"), ours.person("guest")
    room_id = host.create(version, rule="knock")
    for _ in range(2):
        guest.knock(room_id, host.server_name)
        guest.is_told(room_id, "knock")
        host.sees_member(room_id, guest.user_id, "knock")
        guest.act(room_id, "leave")
        host.sees_member(room_id, guest.user_id, "leave")
        guest.is_told(room_id, "leave")


@pytest.mark.parametrize("version", ["8", "10", "12"])
def test_a_restricted_room_is_joined(pair: Pair, version: str) -> None:
    """Members of the allowed room can join, other users can't."""
    host, guest = pair.people()
    space = host.create(version)
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    room_id = host.create(
        version, initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rule}]
    )
    with pytest.raises(RequestRefused) as refused:
        guest.join(room_id, host.server_name)
    assert refused.value.status == 403
    guest.join(space, host.server_name)
    host.sees_member(space, guest.user_id, "join")
    guest.join(room_id, host.server_name)
    host.sees_member(room_id, guest.user_id, "join")
    guest.is_told(room_id, "join")
    member = host.room(room_id).content("m.room.member", guest.user_id)
    assert member["join_authorised_via_users_server"] == host.user_id
    # A second one of the guest's server, which is in the room but where nobody may invite.
    second = pair.guest.person("second")
    second.join(space, host.server_name)
    host.sees_member(space, second.user_id, "join")
    second.join(room_id, host.server_name)
    for person in (host, guest):
        person.sees_member(room_id, second.user_id, "join")
    second.say(room_id, "we are three")
    for person in (host, guest):
        person.hears(room_id, "we are three")
    agree(room_id, host, guest, second)


def test_a_room_that_does_not_federate(pair: Pair) -> None:
    host, guest = pair.people()
    room_id = host.create("10", creation_content={"m.federate": False})
    with pytest.raises(RequestRefused) as refused:
        guest.join(room_id, host.server_name)
    assert refused.value.status in (403, 404)
    with pytest.raises(RequestRefused) as refused:
        host.act(room_id, "invite", guest.user_id)
    assert refused.value.status == 403


@pytest.mark.parametrize(("old", "new"), [("1", "6"), ("6", "10"), ("10", "12")])
def test_a_room_is_upgraded(pair: Pair, old: str, new: str) -> None:
    host, guest, room_id = shared_room(pair, old)
    body = {"new_version": new}
    after = str(host.call("POST", f"/rooms/{room_id}/upgrade", body)["replacement_room"])
    guest.until(
        lambda: guest.room(room_id).content("m.room.tombstone").get("replacement_room") == after,
        "a tombstone",
    )
    guest.join(after, host.server_name)
    guest.is_told(after, "join")
    host.sees_member(after, guest.user_id, "join")
    guest.until(lambda: guest.room(after).content("m.room.create"), "the creation")
    create = guest.room(after).content("m.room.create")
    assert (create["room_version"], create["predecessor"]["room_id"]) == (new, room_id)
    guest.say(after, "here we are")
    host.hears(after, "here we are")
    agree(after, host, guest)
