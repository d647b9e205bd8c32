"""Invites from one server to another, and how they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from murmuration.federation.inbound.transactions import working
from murmuration.federation.membership.rescinding import take_leave
from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import Limit
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.protocol.pdus.building import complete_event
from murmuration.protocol.pdus.signing import SigningKey, sign_json, verify_event
from murmuration.protocol.room_versions import ROOM_VERSIONS
from murmuration.rooms.membership import invitees
from murmuration.rooms.room import Room
from murmuration.server_keys import signing_key
from murmuration.settings import settings
from murmuration.storage.users import memberships
from tests.conftest import SERVER_NAME
from tests.federation.asking import FED, VERSIONS, Peer, body_of
from tests.federation.hosting import Host, HostedRoom
from tests.federation.network import Network, Reply
from tests.federation.remote import Remote
from tests.in_process import Answer, Client, segment
from tests.rooms.people import V3, create_room, ok, path, refused

pytestmark = pytest.mark.usefixtures("jobs")


def sync(client: Client, since: str | None = None) -> Any:
    return ok(client.get(f"{V3}/sync", since=since))


def invite(host: Host, room: HostedRoom, user_id: UserId, *, api: str = "v2", **changes: Any) -> Answer:
    """Let the host invite one of this server's users, and return the answer."""
    event = room.member(user_id, "invite", sender=UserId(room.creator))
    return send_invite(host, room, event, api=api, **changes)


def send_invite(host: Host, room: HostedRoom, event: Event, *, api: str = "v2", **changes: Any) -> Answer:
    state = [it.pdu for pair, it in room.state.items() if pair[1] == ""]
    state_of: Any = changes.pop("invite_room_state", state)
    where = f"{FED}/{api}/invite/{segment(room.room_id)}/{segment(event.event_id)}"
    if api == "v1":
        return Peer(host.remote).put(where, {**event.pdu, "unsigned": {"invite_room_state": state_of}})
    body = {"room_version": room.version.id, "event": event.pdu, "invite_room_state": state_of, **changes}
    return Peer(host.remote).put(where, {name: value for name, value in body.items() if value is not None})


# -- Our users are invited -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_user_is_invited(alice: Client, host: Host, version: str) -> None:
    room = host.room(version, rule="invite")
    room.add("m.room.name", {"name": "Tea"}, "")
    since = sync(alice)["next_batch"]
    answer = body_of(invite(host, room, UserId(alice.user_id)))
    key = signing_key()
    verify_event(answer["event"], ServerName(SERVER_NAME), key.key_id, key.public_key, room.version)
    assert (
        Event(answer["event"], room.version).event_id == room.state["m.room.member", alice.user_id].event_id
    )
    shown = sync(alice, since)["rooms"]["invite"][room.room_id]["invite_state"]["events"]
    by_type = {event["type"]: event for event in shown}
    assert by_type["m.room.name"]["content"] == {"name": "Tea"}
    assert by_type["m.room.member"]["state_key"] == alice.user_id
    assert by_type["m.room.member"]["sender"] == room.creator
    assert {"signatures", "hashes"} & set().union(*shown) == set()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_invited_user_joins(alice: Client, host: Host, version: str) -> None:
    """The user joins through the server that invited them, although the client names no server."""
    room = host.room(version, rule="invite")
    body_of(invite(host, room, UserId(alice.user_id)))
    ok(alice.post(f"{V3}/join/{segment(room.room_id)}"))
    assert room.membership(alice.user_id) == "join"
    body = sync(alice)
    assert room.room_id in body["rooms"]["join"]
    assert room.room_id not in body["rooms"].get("invite", {})


def test_an_invite_of_version_1(alice: Client, host: Host) -> None:
    room = host.room("1", rule="invite")
    answer = body_of(invite(host, room, UserId(alice.user_id), api="v1"))
    assert answer[0] == 200
    assert SERVER_NAME in answer[1]["event"]["signatures"]
    assert room.room_id in sync(alice)["rooms"]["invite"]


def test_stripped_state_is_taken_from_older_servers(alice: Client, host: Host) -> None:
    room = host.room("11", rule="invite")
    stripped = [
        {"type": "m.room.name", "state_key": "", "sender": room.creator, "content": {"name": "Tea"}},
        {"type": "m.room.topic", "state_key": 3, "sender": room.creator, "content": {}},
        {"type": "m.room.avatar", "state_key": "", "sender": room.creator, "content": {"n": 10**400}},
        "what",
    ]
    body_of(invite(host, room, UserId(alice.user_id), invite_room_state=stripped))
    events = sync(alice)["rooms"]["invite"][room.room_id]["invite_state"]["events"]
    assert [event["type"] for event in events] == ["m.room.name", "m.room.member"]


def test_version_12_needs_the_creation(alice: Client, host: Host) -> None:
    room, other = host.room("12", rule="invite"), host.room("12")
    event = room.member(UserId(alice.user_id), "invite", sender=UserId(room.creator))
    create = other.state["m.room.create", ""].pdu
    stripped = {"type": "m.room.create", "state_key": "", "sender": room.creator, "content": {}}
    states: list[Any] = [[], None, [create], [stripped]]
    for state in states:
        refused(send_invite(host, room, event, invite_room_state=state), 400, "M_INVALID_PARAM")
    assert memberships.read_membership(UserId(alice.user_id), RoomId(room.room_id)) is None


def test_state_that_is_not_what_was_signed_is_not_shown(alice: Client, host: Host) -> None:
    """No server can show a user another room name than the one that the room's members gave it."""
    room = host.room("11", rule="invite")
    name = room.add("m.room.name", {"name": "Tea"}, "")
    topic = room.add("m.room.topic", {"topic": "Leaves"}, "")
    forged = {**name.pdu, "content": {"name": "Your bank"}}
    unsigned = {**topic.pdu, "signatures": {}}
    nobodys = {"type": "m.room.avatar", "state_key": "", "sender": "nobody", "content": {}}
    whole = [room.state["m.room.create", ""].pdu, forged, unsigned, nobodys]
    body_of(invite(host, room, UserId(alice.user_id), invite_room_state=whole))
    events = sync(alice)["rooms"]["invite"][room.room_id]["invite_state"]["events"]
    assert [event["type"] for event in events] == ["m.room.create", "m.room.member"]


def test_a_second_invite_replaces_the_first(alice: Client, host: Host) -> None:
    room = host.room("11", rule="invite")
    body_of(invite(host, room, UserId(alice.user_id)))
    first = memberships.read_membership(UserId(alice.user_id), RoomId(room.room_id))
    room.member(UserId(alice.user_id), "leave", sender=UserId(room.creator))
    room.add("m.room.name", {"name": "Second"}, "")
    body_of(invite(host, room, UserId(alice.user_id)))
    second = memberships.read_membership(UserId(alice.user_id), RoomId(room.room_id))
    assert first is not None
    assert second is not None
    assert first.event_id != second.event_id
    events = sync(alice)["rooms"]["invite"][room.room_id]["invite_state"]["events"]
    assert {"name": "Second"} in [event["content"] for event in events]


def test_a_server_fills_nobody_s_list_with_invites(
    alice: Client, host: Host, network: Network, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    monkeypatch.setattr(rate_limits, "LIMITS", {**rate_limits.LIMITS, "federation_invite": Limit(1e-6, 2)})
    for number in range(3):
        answer = invite(host, host.room("11"), UserId(alice.user_id))
        if number < 2:
            ok(answer)
        else:
            refused(answer, 429, "M_LIMIT_EXCEEDED")
    assert len(ok(alice.get(f"{V3}/sync"))["rooms"]["invite"]) == 2
    other = Host(Remote(ServerName(f"other.{fresh_name}")), network)
    ok(invite(other, other.room("11"), UserId(alice.user_id)))
    assert len(ok(alice.get(f"{V3}/sync"))["rooms"]["invite"]) == 3


def test_who_takes_no_invites(alice: Client, host: Host) -> None:
    ok(
        alice.put(
            f"{V3}/user/{segment(alice.user_id)}/account_data/m.invite_permission_config",
            {"default_action": "block"},
        )
    )
    room = host.room("11", rule="invite")
    refused(invite(host, room, UserId(alice.user_id)), 403, "M_INVITE_BLOCKED")
    assert memberships.read_membership(UserId(alice.user_id), RoomId(room.room_id)) is None


def test_who_has_too_many_open_invites(alice: Client, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitees, "MOST_INVITES", 1)
    ok(invite(host, host.room("11", rule="invite"), UserId(alice.user_id)))
    refused(invite(host, host.room("11", rule="invite"), UserId(alice.user_id)), 403, "M_INVITE_BLOCKED")


def test_users_that_there_are_not(host: Host, fresh_user_id: Callable[..., str]) -> None:
    room = host.room("11", rule="invite")
    refused(invite(host, room, UserId(fresh_user_id())), 403, "M_FORBIDDEN")
    refused(invite(host, room, UserId("@somebody:elsewhere.example")), 400, "M_INVALID_PARAM")


NO_INVITES: Mapping[str, Mapping[str, Any]] = {
    "a join": {"content": {"membership": "join"}},
    "a message": {"type": "m.room.message"},
    "power levels": {"type": "m.room.power_levels"},
    "another room": {"room_id": "!other:example.org"},
    "another server's user": {"sender": "@boss:example.org"},
}


@pytest.mark.parametrize("what", NO_INVITES)
def test_nothing_but_an_invite_is_signed(alice: Client, host: Host, what: str) -> None:
    room = host.room("11", rule="invite")
    event = room.member(UserId(alice.user_id), "invite", sender=UserId(room.creator))
    pdu = {**event.pdu, **NO_INVITES[what]}
    changed = complete_event(pdu, ServerName(host.remote.name), host.remote.key, room.version)
    answer = send_invite(host, room, changed)
    refused(answer, 400, "M_INVALID_PARAM")
    assert memberships.read_membership(UserId(alice.user_id), RoomId(room.room_id)) is None


def test_an_invite_without_a_right_signature(alice: Client, host: Host) -> None:
    room = host.room("11", rule="invite")
    event = room.member(UserId(alice.user_id), "invite", sender=UserId(room.creator))
    for signatures in ({}, {str(host.remote.name): {host.remote.key.key_id: "A" * 86}}):
        wrong = Event({**event.pdu, "signatures": signatures}, room.version)
        refused(send_invite(host, room, wrong), 400, "M_INVALID_PARAM")
    changed = Event({**event.pdu, "content": {"membership": "invite", "x": 1}}, room.version, event.event_id)
    refused(send_invite(host, room, changed), 400, "M_INVALID_PARAM")


def test_a_version_that_there_is_not(alice: Client, host: Host) -> None:
    room = host.room("11", rule="invite")
    answer = invite(host, room, UserId(alice.user_id), room_version="org.example.99")
    refused(answer, 400, "M_INCOMPATIBLE_ROOM_VERSION")
    refused(invite(host, room, UserId(alice.user_id), room_version=None), 400, "M_MISSING_PARAM")


# -- Rejecting and rescinding ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_an_invite_is_rejected(alice: Client, host: Host, version: str) -> None:
    room = host.room(version, rule="invite")
    body_of(invite(host, room, UserId(alice.user_id)))
    since = sync(alice)["next_batch"]
    ok(alice.post(path(room.room_id, "leave")))
    assert room.membership(alice.user_id) == "leave"
    body = sync(alice, since)
    left = body["rooms"]["leave"][room.room_id]
    assert [event["content"]["membership"] for event in left["timeline"]["events"]] == ["leave"]
    assert room.room_id not in sync(alice).get("rooms", {}).get("invite", {})
    # It is over, so nothing more is sent about it.
    assert room.room_id not in sync(alice, body["next_batch"]).get("rooms", {}).get("leave", {})
    ok(alice.post(path(room.room_id, "forget")))


def test_an_invite_of_a_dead_server_is_rejected_at_once(
    alice: Client, host: Host, jobs: list[dict[str, Any]]
) -> None:
    """The other server is told when it is back."""
    from functions.workers.joins.join_remote_room import handler

    room = host.room("11", rule="invite")
    body_of(invite(host, room, UserId(alice.user_id)))
    since = sync(alice)["next_batch"]
    host.lies["make_leave"] = lambda _: Reply({"errcode": "M_UNKNOWN", "error": "?"}, 500)
    ok(alice.post(path(room.room_id, "leave"), {"reason": "no"}))
    left = sync(alice, since)["rooms"]["leave"][room.room_id]
    assert [event["content"] for event in left["timeline"]["events"]] == [
        {"membership": "leave", "reason": "no"}
    ]
    assert jobs == [{"user_id": alice.user_id, "room_id": room.room_id, "leave": 1}]
    handler.function(jobs[0])
    assert [job["leave"] for job in jobs] == [1, 2]
    del host.lies["make_leave"]
    handler.function(jobs[1])
    assert room.membership(alice.user_id) == "leave"
    assert len(jobs) == 2


def test_a_room_that_one_was_never_invited_to(alice: Client, host: Host) -> None:
    room = host.room("11")
    refused(alice.post(path(room.room_id, "leave")), 403, "M_FORBIDDEN")


def test_an_invite_is_taken_back(alice: Client, host: Host) -> None:
    room = host.room("11", rule="invite")
    body_of(invite(host, room, UserId(alice.user_id)))
    since = sync(alice)["next_batch"]
    kick = room.member(UserId(alice.user_id), "leave", sender=UserId(room.creator))
    assert take_leave(kick.pdu, ServerName(host.remote.name))
    body = sync(alice, since)
    (shown,) = body["rooms"]["leave"][room.room_id]["timeline"]["events"]
    assert (shown["event_id"], shown["sender"]) == (kick.event_id, room.creator)
    assert not take_leave(kick.pdu, ServerName(host.remote.name))


def test_an_invite_is_taken_back_in_a_transaction(alice: Client, host: Host) -> None:
    room = host.room("11", rule="invite")
    body_of(invite(host, room, UserId(alice.user_id)))
    kick = room.member(UserId(alice.user_id), "leave", sender=UserId(room.creator))
    pdus = [room.message("not for us").pdu, kick.pdu]
    counts = working.work({"origin": host.remote.name, "room_id": room.room_id, "pdus": pdus})
    assert counts == {"accepted": 1, "not_our_room": 1}
    row = memberships.read_membership(UserId(alice.user_id), RoomId(room.room_id))
    assert row is not None
    assert row.membership == "leave"


@pytest.mark.parametrize("version", ["11", "12"])
def test_of_the_members_only_the_inviter_and_creators_take_an_invite_back(
    alice: Client, host: Host, version: str
) -> None:
    """Whether another member has the power to do it can't be known outside of the room."""
    room = host.room(version, rule="public")
    inviter, other = (UserId(f"@{name}:{host.remote.name}") for name in ("inviter", "other"))
    room.member(inviter, "join")
    room.member(other, "join")
    user_id = UserId(alice.user_id)
    for sender, ends in ((other, False), (inviter, True), (UserId(room.creator), True)):
        body_of(send_invite(host, room, room.member(user_id, "invite", sender=inviter)))
        kick = room.member(user_id, "leave", sender=sender, take=False)
        assert take_leave(kick.pdu, ServerName(host.remote.name)) is ends, sender


def test_what_does_not_take_an_invite_back(
    alice: Client, host: Host, network: Network, fresh_name: str
) -> None:
    room = host.room("11", rule="invite")
    body_of(invite(host, room, UserId(alice.user_id)))
    kick = room.member(UserId(alice.user_id), "leave", sender=UserId(room.creator), take=False)
    stranger = Remote(ServerName(f"stranger.{fresh_name}"), SigningKey(b"s" * 32, "s1"))
    stranger.serve(network)
    sender = f"@eve:{stranger.name}"
    foreign = {**kick.pdu, "sender": sender, "auth_events": kick.pdu["auth_events"][:1]}
    wrong: list[Any] = [
        {**kick.pdu, "signatures": {}},
        {**kick.pdu, "room_id": "!other:example.org"},
        {**kick.pdu, "content": {"membership": "leave"}, "state_key": "@nobody:example.org"},
        complete_event(foreign, ServerName(stranger.name), stranger.key, room.version).pdu,
        complete_event(kick.pdu, ServerName(stranger.name), stranger.key, room.version).pdu,
        room.message("hello").pdu,
        {},
        None,
        [],
    ]
    for pdu in wrong:
        assert not take_leave(pdu, ServerName(host.remote.name))
    row = memberships.read_membership(UserId(alice.user_id), RoomId(room.room_id))
    assert row is not None
    assert row.membership == "invite"


def test_an_old_leave_ends_no_newer_invite(alice: Client, host: Host) -> None:
    room = host.room("11", rule="invite")
    body_of(invite(host, room, UserId(alice.user_id)))
    kick = room.member(UserId(alice.user_id), "leave", sender=UserId(room.creator))
    body_of(invite(host, room, UserId(alice.user_id)))
    assert not take_leave(kick.pdu, ServerName(host.remote.name))


# -- Our users invite ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_user_of_another_server_is_invited(alice: Client, host: Host, version: str) -> None:
    room_id = RoomId(create_room(alice, preset="private_chat", room_version=version, name="Tea"))
    guest = f"@guest:{host.remote.name}"
    ok(alice.post(path(room_id, "invite"), {"user_id": guest, "reason": "come"}))
    (body,) = host.invited
    told = {pdu[RoomId("type")]: Event(pdu, ROOM_VERSIONS[version]) for pdu in body["invite_room_state"]}
    assert told["m.room.create"].room_id == room_id
    assert told["m.room.name"].content == {"name": "Tea"}
    event = Room.load(room_id).event("m.room.member", guest)
    assert event is not None
    assert event.content == {"membership": "invite", "reason": "come"}
    assert set(event.pdu["signatures"]) == {SERVER_NAME, host.remote.name}
    ok(alice.post(path(room_id, "invite"), {"user_id": guest, "reason": "come"}))
    assert len(host.invited) == 1


def test_an_invited_guest_joins_a_closed_room(alice: Client, host: Host) -> None:
    room_id = RoomId(create_room(alice, preset="private_chat"))
    guest = UserId(f"@guest:{host.remote.name}")
    ok(alice.post(path(room_id, "invite"), {"user_id": guest}))
    body_of(Peer(host.remote).go("join", room_id, guest))
    assert Room.load(room_id).membership(guest) == "join"


def test_a_room_is_made_with_a_guest(alice: Client, host: Host) -> None:
    guest = f"@guest:{host.remote.name}"
    room_id = RoomId(create_room(alice, preset="trusted_private_chat", invite=[guest], is_direct=True))
    event = Room.load(room_id).event("m.room.member", guest)
    assert event is not None
    assert event.content == {"membership": "invite", "is_direct": True}


def test_an_older_server_is_asked_by_version_1(alice: Client, host: Host) -> None:
    host.only_v1 = True
    room_id = create_room(alice, preset="private_chat", room_version="1")
    ok(alice.post(path(room_id, "invite"), {"user_id": f"@guest:{host.remote.name}"}))
    assert host.asked == ["v2/invite", "v1/invite"]
    newer = create_room(alice, preset="private_chat", room_version="11")
    answer = alice.post(path(newer, "invite"), {"user_id": f"@guest:{host.remote.name}"})
    refused(answer, 502, "M_UNKNOWN")


@pytest.mark.parametrize(
    ("status", "errcode", "shown"),
    [
        (403, "M_FORBIDDEN", (403, "M_FORBIDDEN")),
        (403, "M_INVITE_BLOCKED", (403, "M_INVITE_BLOCKED")),
        (400, "M_MISSING_PARAM", (502, "M_UNKNOWN")),
        (400, "M_INVALID_PARAM", (502, "M_UNKNOWN")),
        (500, "M_UNKNOWN", (502, "M_UNKNOWN")),
    ],
)
def test_an_invite_that_the_guests_server_refuses(
    alice: Client, host: Host, status: int, errcode: str, shown: tuple[int, str]
) -> None:
    room_id = RoomId(create_room(alice, preset="private_chat"))
    guest = UserId(f"@guest:{host.remote.name}")
    host.lies["invite"] = lambda _: Reply({"errcode": errcode, "error": "No"}, status)
    refused(alice.post(path(room_id, "invite"), {"user_id": guest}), *shown)
    assert Room.load(room_id).membership(guest) is None


def forge(answer: dict[str, Any]) -> Any:
    given = answer["event"]["signatures"]
    forged = {name: dict.fromkeys(keys, "A" * 86) for name, keys in given.items()}
    return {"event": {**answer["event"], "signatures": forged}}


LIES: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "no signature": lambda answer: {"event": {**answer["event"], "signatures": {}}},
    "no event": lambda _: {},
    "a list": lambda answer: [answer],
    "a wrong signature": forge,
}


@pytest.mark.parametrize("lie", LIES)
def test_an_invite_that_is_not_signed(alice: Client, host: Host, lie: str) -> None:
    room_id = RoomId(create_room(alice, preset="private_chat"))
    guest = UserId(f"@guest:{host.remote.name}")
    host.lies["invite"] = LIES[lie]
    refused(alice.post(path(room_id, "invite"), {"user_id": guest}), 502, "M_UNKNOWN")
    assert Room.load(room_id).membership(guest) is None


def test_an_invite_that_comes_back_changed(alice: Client, host: Host) -> None:
    """Only the signature is used. If it is for the changed event, it doesn't match ours."""
    room_id = RoomId(create_room(alice, preset="private_chat"))
    guest = UserId(f"@guest:{host.remote.name}")

    def change(answer: dict[str, Any]) -> Any:
        changed = {**answer["event"], "state_key": "@other:example.org"}
        return {"event": changed}

    host.lies["invite"] = change
    ok(alice.post(path(room_id, "invite"), {"user_id": guest}))
    room = Room.load(room_id)
    assert room.membership(guest) == "invite"
    assert room.membership(UserId("@other:example.org")) is None


def test_who_may_not_invite(alice: Client, bob: Client, host: Host) -> None:
    room_id = create_room(alice, preset="public_chat", creation_content={"m.federate": False})
    guest = f"@guest:{host.remote.name}"
    refused(alice.post(path(room_id, "invite"), {"user_id": guest}), 403, "M_FORBIDDEN")
    open_room = create_room(alice, preset="public_chat")
    refused(bob.post(path(open_room, "invite"), {"user_id": guest}), 403, "M_FORBIDDEN")
    refused(bob.post(path("!nowhere:example.org", "invite"), {"user_id": guest}), 403, "M_FORBIDDEN")
    assert host.invited == []


# -- Knocking --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["7", "11", "12"])
def test_a_user_knocks_and_is_let_in(alice: Client, host: Host, version: str) -> None:
    room = host.room(version, rule="knock")
    room.add("m.room.name", {"name": "Tea"}, "")
    ok(alice.post(f"{V3}/knock/{segment(room.room_id)}?via={host.remote.name}", {"reason": "please"}))
    assert room.membership(alice.user_id) == "knock"
    shown = sync(alice)["rooms"]["knock"][room.room_id]["knock_state"]["events"]
    assert {"name": "Tea"} in [event["content"] for event in shown]
    body_of(invite(host, room, UserId(alice.user_id)))
    body = sync(alice)["rooms"]
    assert room.room_id in body["invite"]
    assert room.room_id not in body.get("knock", {})
    ok(alice.post(f"{V3}/join/{segment(room.room_id)}"))


def test_a_knock_is_taken_back(alice: Client, host: Host) -> None:
    room = host.room("11", rule="knock")
    ok(alice.post(f"{V3}/knock/{segment(room.room_id)}?via={host.remote.name}"))
    ok(alice.post(path(room.room_id, "leave")))
    assert room.membership(alice.user_id) == "leave"
    assert room.room_id not in sync(alice).get("rooms", {}).get("knock", {})


def test_a_knock_is_refused_by_the_room(alice: Client, host: Host) -> None:
    room = host.room("11", rule="knock")
    ok(alice.post(f"{V3}/knock/{segment(room.room_id)}?via={host.remote.name}"))
    kick = room.member(UserId(alice.user_id), "leave", sender=UserId(room.creator))
    assert take_leave(kick.pdu, ServerName(host.remote.name))
    row = memberships.read_membership(UserId(alice.user_id), RoomId(room.room_id))
    assert row is not None
    assert (row.membership, row.previous) == ("leave", "knock")


# -- Invites by address, aliases, profiles ---------------------------------------------------------------


def third_party_room(alice: Client, key: SigningKey) -> RoomId:
    content = {
        "display_name": "c…@example.com",
        "key_validity_url": "https://id.example/valid",
        "public_key": key.public_base64,
        "public_keys": [{"public_key": key.public_base64}],
    }
    room_id = RoomId(create_room(alice, preset="private_chat"))
    ok(alice.put(path(room_id, "state", "m.room.third_party_invite", "token"), content))
    return room_id


def exchange(host: Host, room_id: str, sender: str, key: SigningKey, **changes: Any) -> Answer:
    guest = f"@guest:{host.remote.name}"
    signed = sign_json({"mxid": guest, "token": "token", "sender": sender}, ServerName("id.example"), key)
    body = {
        "type": "m.room.member",
        "room_id": room_id,
        "sender": sender,
        "state_key": guest,
        "content": {
            "membership": "invite",
            "third_party_invite": {"display_name": "c…@example.com", "signed": signed},
        },
        **changes,
    }
    return Peer(host.remote).put(f"{FED}/v1/exchange_third_party_invite/{segment(room_id)}", body)


def test_an_invite_by_address_becomes_one_of_a_user(alice: Client, host: Host) -> None:
    key = SigningKey(b"i" * 32, "0")
    room_id = third_party_room(alice, key)
    assert body_of(exchange(host, room_id, alice.user_id, key)) == {}
    event = Room.load(room_id).event("m.room.member", f"@guest:{host.remote.name}")
    assert event is not None
    assert event.membership == "invite"
    assert event.content["third_party_invite"]["signed"]["token"] == "token"


def test_an_address_that_is_not_proved(alice: Client, bob: Client, host: Host) -> None:
    key = SigningKey(b"i" * 32, "0")
    room_id = third_party_room(alice, key)
    refused(exchange(host, room_id, alice.user_id, SigningKey(b"j" * 32, "0")), 403, "M_FORBIDDEN")
    refused(exchange(host, room_id, bob.user_id, key), 403, "M_FORBIDDEN")
    refused(exchange(host, room_id, alice.user_id, key, type="m.room.name"), 400, "M_INVALID_PARAM")
    refused(exchange(host, room_id, "@x:elsewhere.example", key), 400, "M_INVALID_PARAM")
    refused(exchange(host, room_id, alice.user_id, key, content={}), 400, "M_INVALID_PARAM")
    assert Room.load(room_id).membership(UserId(f"@guest:{host.remote.name}")) is None


def test_an_alias_is_told(alice: Client, host: Host) -> None:
    name = f"tea-{segment(alice.user_id)[4:18]}"
    room_id = create_room(alice, room_alias_name=name)
    where = f"{FED}/v1/query/directory"
    peer = Peer(host.remote)
    answer = body_of(peer.get(where, room_alias=f"#{name}:{SERVER_NAME}"))
    assert answer == {"room_id": room_id, "servers": [SERVER_NAME]}
    refused(peer.get(where, room_alias=f"#no-such-thing:{SERVER_NAME}"), 404, "M_NOT_FOUND")
    refused(peer.get(where, room_alias="#a:elsewhere.example"), 404, "M_NOT_FOUND")
    refused(peer.get(where), 400, "M_MISSING_PARAM")


def test_a_profile_is_told(alice: Client, host: Host, fresh_user_id: Callable[..., str]) -> None:
    where = f"{FED}/v1/query/profile"
    peer = Peer(host.remote)
    assert body_of(peer.get(where, user_id=alice.user_id)) == {"displayname": "alice"}
    assert body_of(peer.get(where, user_id=alice.user_id, field="displayname")) == {"displayname": "alice"}
    refused(peer.get(where, user_id=alice.user_id, field="avatar_url"), 404, "M_NOT_FOUND")
    refused(peer.get(where, user_id=fresh_user_id()), 404, "M_NOT_FOUND")
    refused(peer.get(where), 400, "M_MISSING_PARAM")
