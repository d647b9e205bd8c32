"""Joining, inviting, knocking, leaving, kicking, banning, forgetting."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.federation.membership.leaving import leave_all_rooms
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.membership import invitees
from murmuration.rooms.membership.operations import update_profile_in_rooms
from murmuration.storage.users import memberships
from tests.faults import Way, fault
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, invite, join, leave, ok, path, refused, send, set_state


@pytest.fixture
def public(alice: Client) -> str:
    return create_room(alice, preset="public_chat")


def membership(client: Client, room_id: str, other: Client) -> Any:
    return ok(client.get(path(room_id, "state", "m.room.member", other.user_id)))["membership"]


def act(client: Client, room_id: str, action: str, other: Client | None = None, **more: Any) -> Any:
    body = {"user_id": other.user_id} if other is not None else {}
    return client.post(path(room_id, action), {**body, **more})


def test_joining_twice_is_joining_once(alice, bob, public):
    join(bob, public)
    before = ok(alice.get(path(public, "messages"), dir="b", limit=1))["chunk"]
    assert ok(bob.post(f"{V3}/join/{segment(public)}")) == {"room_id": public}
    assert (
        ok(alice.get(path(public, "messages"), dir="b", limit=1))["chunk"][0]["event_id"]
        == before[0]["event_id"]
    )
    content = ok(alice.get(path(public, "state", "m.room.member", bob.user_id)))
    assert content == {"membership": "join", "displayname": "bob"}


@pytest.mark.parametrize("action", ["invite", "knock"])
def test_asking_twice_is_asking_once(alice, bob, action):
    room_id = create_room(alice)
    set_state(alice, room_id, "m.room.join_rules", {"join_rule": "knock"})

    def ask(**more: Any) -> str:
        if action == "invite":
            ok(act(alice, room_id, "invite", bob, **more))
        else:
            ok(bob.post(f"{V3}/knock/{segment(room_id)}", more))
        return str(ok(alice.get(path(room_id, "messages"), dir="b", limit=1))["chunk"][0]["event_id"])

    with fault(1, Way.AFTER), pytest.raises(AssertionError):
        ask()
    first = ask()
    assert ask() == first
    assert ok(alice.get(path(room_id, "event", first)))["unsigned"].get("prev_content") is None
    assert ask(reason="for another reason") != first


def test_joining_by_alias(alice, bob):
    name = f"by-alias-{alice.user_id[7:].partition(':')[0]}"
    room_id = create_room(alice, preset="public_chat", room_alias_name=name)
    assert ok(bob.post(f"{V3}/join/{segment(f'#{name}:example.org')}"))["room_id"] == room_id
    refused(bob.post(f"{V3}/join/{segment('#nowhere:example.org')}"), 404, "M_NOT_FOUND")
    refused(bob.post(f"{V3}/join/nowhere"), 400, "M_INVALID_PARAM")
    refused(bob.post(path("!unknown:example.org", "join")), 404, "M_NOT_FOUND")


def test_an_invite_lets_in_and_shows_the_room(alice, bob):
    room_id = RoomId(create_room(alice, name="Invited to"))
    invite(alice, room_id, bob)
    row = memberships.read_membership(bob.user_id, room_id)
    assert row is not None
    shown = {event["type"]: event["content"] for event in row.stripped_state}
    assert shown["m.room.name"] == {"name": "Invited to"}
    assert shown["m.room.create"]["room_version"] == "12"
    assert shown["m.room.member"]["membership"] == "invite"
    join(bob, room_id)
    assert membership(alice, room_id, bob) == "join"


def test_who_may_not_invite(alice, bob, make_client):
    carol = make_client("carol")
    room_id = create_room(alice)
    refused(act(bob, room_id, "invite", carol), 403, "M_FORBIDDEN")
    refused(act(alice, room_id, "invite", alice), 403, "M_FORBIDDEN")
    invite(alice, room_id, bob)
    join(bob, room_id)
    refused(act(alice, room_id, "invite", bob), 403, "M_FORBIDDEN")
    refused(alice.post(path(room_id, "invite"), {"user_id": 7}), 400, "M_BAD_JSON")
    refused(alice.post(path(room_id, "invite"), {}), 400, "M_MISSING_PARAM")


def test_rejecting_an_invite(alice, bob):
    room_id = create_room(alice)
    invite(alice, room_id, bob)
    leave(bob, room_id)
    assert membership(alice, room_id, bob) == "leave"
    leave(bob, room_id)


def test_knocking_and_being_let_in(alice, bob):
    rule = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    room_id = create_room(alice, initial_state=[rule])
    assert ok(bob.post(f"{V3}/knock/{segment(room_id)}", {"reason": "please"})) == {"room_id": room_id}
    knock = ok(alice.get(path(room_id, "state", "m.room.member", bob.user_id)))
    assert (knock["membership"], knock["reason"]) == ("knock", "please")
    refused(bob.post(path(room_id, "join")), 403, "M_FORBIDDEN")
    invite(alice, room_id, bob)
    join(bob, room_id)


def test_knocking_where_nobody_answers(alice, bob):
    refused(bob.post(f"{V3}/knock/{segment(create_room(alice))}"), 403, "M_FORBIDDEN")


@pytest.mark.parametrize("membership", ["invite", "leave", "ban", "knock"])
def test_a_membership_is_a_users(alice, public, membership):
    for nobody in ("carol", "@carol", "#carol:example.org"):
        answer = alice.put(path(public, "state", "m.room.member", nobody), {"membership": membership})
        refused(answer, 400, "M_INVALID_PARAM")
    refused(alice.post(path(public, "ban"), {"user_id": "carol"}), 400, "M_INVALID_PARAM")


@pytest.mark.parametrize("change", ["kick", "unban", "ban"])
def test_a_user_of_too_long_a_name_is_nobody(alice, public, change):
    answer = alice.post(path(public, change), {"user_id": f"@{'x' * 3000}:example.org"})
    errors = ((400, "M_INVALID_PARAM"), (403, "M_FORBIDDEN"), (403, "M_BAD_STATE"))
    assert (answer.status, answer.json["errcode"]) in errors


def test_kick_ban_and_unban(alice, bob, public):
    join(bob, public)
    refused(act(bob, public, "kick", alice), 403, "M_FORBIDDEN")
    ok(act(alice, public, "kick", bob, reason="shouting"))
    assert membership(alice, public, bob) == "leave"
    refused(act(alice, public, "kick", bob), 403, "M_FORBIDDEN")
    join(bob, public)
    ok(act(alice, public, "ban", bob))
    refused(bob.post(path(public, "join")), 403, "M_FORBIDDEN")
    refused(act(bob, public, "leave"), 403, "M_FORBIDDEN")
    ok(act(alice, public, "unban", bob))
    refused(act(alice, public, "unban", bob), 403, "M_BAD_STATE")
    join(bob, public)


@pytest.mark.parametrize("way", ["join", "rooms"])
def test_a_join_takes_the_other_keys_of_its_body(alice, bob, public, way):
    where = f"{V3}/join/{segment(public)}" if way == "join" else path(public, "join")
    others = {
        "org.example.colour": {"shade": 3},
        "membership": "ban",
        "join_authorised_via_users_server": "@x:y",
    }
    ok(bob.post(where, {"reason": "tea", **others}))
    content = ok(alice.get(path(public, "state", "m.room.member", bob.user_id)))
    assert content["org.example.colour"] == {"shade": 3}
    assert (content["membership"], content["reason"]) == ("join", "tea")
    assert "join_authorised_via_users_server" not in content


def test_what_changes_nothing_still_needs_the_power(alice, bob, make_client, public):
    carol, dave = make_client("carol"), make_client("dave")
    join(bob, public)
    ok(alice.post(path(public, "ban"), {"user_id": carol.user_id}))
    refused(bob.post(path(public, "ban"), {"user_id": carol.user_id}), 403, "M_FORBIDDEN")
    ok(alice.post(path(public, "ban"), {"user_id": carol.user_id}))
    banned = ok(alice.get(path(public, "state", "m.room.member", carol.user_id)))
    where = path(public, "state", "m.room.member", carol.user_id)
    refused(bob.put(where, banned), 403, "M_FORBIDDEN")
    ok(alice.put(where, banned))
    levels = ok(alice.get(path(public, "state", "m.room.power_levels")))
    ok(alice.put(path(public, "state", "m.room.power_levels", ""), levels | {"invite": 0}))
    ok(bob.post(path(public, "invite"), {"user_id": dave.user_id}))
    ok(bob.post(path(public, "invite"), {"user_id": dave.user_id}))
    ok(alice.put(path(public, "state", "m.room.power_levels", ""), levels | {"invite": 50}))
    refused(bob.post(path(public, "invite"), {"user_id": dave.user_id}), 403, "M_FORBIDDEN")


def test_leaving_a_room_one_was_never_in(bob, public):
    refused(act(bob, public, "leave"), 403, "M_FORBIDDEN")
    refused(act(bob, "!unknown:example.org", "leave"), 403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    "profile",
    [
        {"displayname": 5},
        {"displayname": ["Bob"]},
        {"displayname": "b" * 257},
        {"avatar_url": {}},
        {"avatar_url": "mxc://example.org/" + "a" * 1000},
    ],
)
def test_a_malformed_profile_is_refused(bob, public, profile):
    ok(act(bob, public, "join"))
    where = path(public, "state", "m.room.member", bob.user_id)
    refused(bob.put(where, {"membership": "join", **profile}), 400, "M_BAD_JSON")
    ok(bob.put(where, {"membership": "join", "displayname": None, "avatar_url": None}))


@pytest.mark.parametrize("body", [b"", b"null", b" null\n", b"{}"])
def test_an_empty_body_will_do(bob, public, body):
    for action in ("join", "leave"):
        ok(bob.request("POST", path(public, action), body))


def test_forgetting(alice, bob, public):
    join(bob, public)
    refused(act(bob, public, "forget"), 400, "M_UNKNOWN")
    leave(bob, public)
    ok(act(bob, public, "forget"))
    assert memberships.read_membership(bob.user_id, public) is None
    ok(act(bob, public, "forget"))  # by another device, or once more as the answer was lost


def test_a_restricted_room_lets_in_the_members_of_another(alice, bob, make_client, public):
    carol = make_client("carol")
    join(bob, public)
    allow = [{"type": "m.room_membership", "room_id": public}]
    rule = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    for version in ("8", "11", "12"):
        room_id = create_room(alice, initial_state=[rule], room_version=version)
        join(bob, room_id)
        content = ok(alice.get(path(room_id, "state", "m.room.member", bob.user_id)))
        assert content["join_authorised_via_users_server"] == alice.user_id
        refused(carol.post(path(room_id, "join")), 403, "M_FORBIDDEN")


def test_a_restricted_room_may_name_rooms_that_can_not_be(alice, bob):
    names = ["", "!" + "x" * 3000, *(f"!{number}:example.org" for number in range(300))]
    allow = [5, {}, *({"type": "m.room_membership", "room_id": name} for name in names)]
    rule = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    room_id = create_room(alice, initial_state=[rule])
    refused(bob.post(path(room_id, "join")), 403, "M_FORBIDDEN")
    refused(bob.get(f"/_matrix/client/v1/room_summary/{segment(room_id)}"), 404, "M_NOT_FOUND")


@pytest.mark.parametrize("version", ["8", "12"])
def test_who_vouches_for_a_join_is_not_the_clients_to_say(alice, bob, make_client, public, version):
    carol = make_client("carol")
    join(bob, public)
    allow = [{"type": "m.room_membership", "room_id": public}]
    rule = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    room_id = create_room(alice, initial_state=[rule], room_version=version)
    joining = {"membership": "join", "join_authorised_via_users_server": alice.user_id}
    forged = carol.put(path(room_id, "state", "m.room.member", carol.user_id), joining)
    refused(forged, 403, "M_FORBIDDEN")
    joining["join_authorised_via_users_server"] = bob.user_id
    set_state(bob, room_id, "m.room.member", joining, bob.user_id)
    for name in ("Bob", "Robert"):
        set_state(bob, room_id, "m.room.member", {"membership": "join", "displayname": name}, bob.user_id)
        content = ok(alice.get(path(room_id, "state", "m.room.member", bob.user_id)))
        authoriser = {"join_authorised_via_users_server": alice.user_id}
        assert content == {"membership": "join", "displayname": name, **authoriser}


def test_a_new_name_reaches_every_room(alice, bob, public):
    private = RoomId(create_room(alice))
    update_profile_in_rooms(alice.user_id, {"displayname": "Alice the Great"})
    update_profile_in_rooms(alice.user_id, {"displayname": "Alice the Great"})
    for room_id in (public, private):
        content = ok(alice.get(path(room_id, "state", "m.room.member", alice.user_id)))
        assert content == {"membership": "join", "displayname": "Alice the Great"}
        row = memberships.read_membership(alice.user_id, room_id)
        assert row is not None
        assert row.since == 2


@pytest.mark.parametrize("operation", ["invite", "kick", "ban", "unban"])
@pytest.mark.parametrize(
    "user_id", ["", "bob", "@bob", "@bob:exam ple.org", "@" + "b" * 300 + ":example.org"]
)
def test_what_is_no_user_id_is_a_bad_request(alice, public, operation, user_id):
    refused(alice.post(path(public, operation), {"user_id": user_id}), 400, "M_INVALID_PARAM")


def test_leaving_all_rooms(alice, bob, public):
    invited = create_room(alice)
    join(bob, public)
    invite(alice, invited, bob)
    leave_all_rooms(bob.user_id)
    assert {row.membership for row in memberships.read_memberships(bob.user_id)} == {"leave"}


def test_membership_through_the_state_endpoint(alice, bob, public):
    set_state(bob, public, "m.room.member", {"membership": "join"}, bob.user_id)
    assert membership(alice, public, bob) == "join"
    set_state(alice, public, "m.room.member", {"membership": "ban"}, bob.user_id)
    assert membership(alice, public, bob) == "ban"
    wrong = bob.put(path(public, "state", "m.room.member", bob.user_id), {"membership": "lurk"})
    refused(wrong, 400, "M_INVALID_PARAM")


def test_nobody_has_more_open_invites_than_their_syncs_can_read(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitees, "MOST_INVITES", 2)
    rooms = [create_room(alice) for _ in range(3)]
    for room_id in rooms[:2]:
        invite(alice, room_id, bob)
    refused(alice.post(path(rooms[2], "invite"), {"user_id": bob.user_id}), 403, "M_INVITE_BLOCKED")
    refused(alice.post(f"{V3}/createRoom", {"invite": [bob.user_id]}), 403, "M_INVITE_BLOCKED")
    join(bob, rooms[0])
    invite(alice, rooms[2], bob)
    leave(bob, rooms[1])
    create_room(alice, invite=[bob.user_id])


def rows_of(client: Client) -> dict[str, str]:
    return {row.room_id: row.membership for row in memberships.read_memberships(UserId(client.user_id))}


def withdraw(client: Client, room_id: str, invited: Client) -> None:
    ok(client.post(path(room_id, "kick"), {"user_id": invited.user_id}))


def test_withdrawn_invites_stay_for_a_while_and_the_oldest_of_too_many_go(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitees, "MOST_ENDED", 2)
    rooms = [create_room(alice) for _ in range(4)]
    for room_id in rooms:
        invite(alice, room_id, bob)
        withdraw(alice, room_id, bob)
        assert len(rows_of(bob)) <= 2
    assert set(rows_of(bob)) == set(rooms[2:])
    with monkeypatch.context() as patch:
        patch.setattr(invitees, "ENDED_MS", -60_000)
        invite(alice, rooms[0], bob)
    assert rows_of(bob) == {rooms[0]: "invite"}


def test_who_was_in_the_room_before_a_withdrawn_invite_still_sees_what_was_said_then(
    alice: Client, bob: Client, public: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    join(bob, public)
    said = send(alice, public, "while they were there")
    leave(bob, public)
    set_state(alice, public, "m.room.history_visibility", {"history_visibility": "joined"})
    invite(alice, public, bob)
    withdraw(alice, public, bob)
    monkeypatch.setattr(invitees, "ENDED_MS", -60_000)
    for _ in range(2):
        other = create_room(alice)
        invite(alice, other, bob)
        assert rows_of(bob)[public] == "leave"
        ok(bob.get(path(public, "event", said)))
        withdraw(alice, other, bob)
    assert len(rows_of(bob)) == 2


@pytest.mark.parametrize("forgotten", [False, True])
def test_invites_that_the_user_turned_down_stay_for_a_while_and_the_oldest_of_too_many_go(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch, forgotten: bool
) -> None:
    monkeypatch.setattr(invitees, "MOST_ENDED", 2)
    rooms = [create_room(alice) for _ in range(4)]
    for room_id in rooms:
        invite(alice, room_id, bob)
        leave(bob, room_id)
        if forgotten:
            ok(bob.post(path(room_id, "forget"), {}))
        assert len(all_rows_of(bob)) <= 2
    assert all_rows_of(bob) == set(rooms[2:])
    monkeypatch.setattr(invitees, "ENDED_MS", -60_000)
    invite(alice, rooms[0], bob)
    assert all_rows_of(bob) == {rooms[0]}
    assert membership(alice, rooms[3], bob) == "leave"


@pytest.mark.parametrize("forgotten", [False, True])
def test_an_erased_user_is_erased_where_they_were_or_wrote_why_they_did_not_come(
    alice: Client, bob: Client, public: str, monkeypatch: pytest.MonkeyPatch, forgotten: bool
) -> None:
    join(bob, public)
    leave(bob, public)
    other, silent = create_room(alice), create_room(alice)
    for room_id, reason in ((public, {}), (other, {"reason": "I am ill"}), (silent, {})):
        invite(alice, room_id, bob)
        ok(bob.post(path(room_id, "leave"), reason))
        if forgotten:
            ok(bob.post(path(room_id, "forget"), {}))
    monkeypatch.setattr(invitees, "ENDED_MS", -60_000)
    for _ in range(2):
        last = create_room(alice, invite=[bob.user_id])
        leave(bob, last)
        assert all_rows_of(bob) == {public, other, last}


def all_rows_of(client: Client) -> set[str]:
    """Return the rooms of which the user has a row, also if they forgot them."""
    rows = memberships.read_memberships(UserId(client.user_id), forgotten=True)
    return {row.room_id for row in rows}
