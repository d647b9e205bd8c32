"""Invites, knocks, leaving, kicks, bans and coming back, as a sync shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.room import Room
from murmuration.storage.live import sync_tokens
from murmuration.storage.users import memberships
from murmuration.sync.assembly import assembling
from tests.in_process import Client, segment
from tests.rooms.people import V3, bodies, create_room, invite, join, leave, ok, path, send, set_state
from tests.sync.client import Syncing, has_nothing, state, timeline

Make = Callable[..., Client]


def pair(make_client: Make) -> tuple[Client, Client, RoomId, Syncing]:
    """Return Alice's room, which Bob is in, and Bob's place in the stream."""
    alice, bob = make_client("alice"), make_client("bob")
    room_id = RoomId(create_room(alice, preset="public_chat"))
    join(bob, room_id)
    syncing = Syncing(bob)
    syncing.sync()
    return alice, bob, room_id, syncing


def test_an_invite_comes_once_with_stripped_state(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, name="Come in")
    syncing = Syncing(bob)
    syncing.sync()
    invite(alice, room_id, bob)
    section = syncing.sync()["rooms"]["invite"][room_id]
    events = section["invite_state"]["events"]
    assert {"m.room.name", "m.room.member"} <= {event["type"] for event in events}
    stripped = {"type", "sender", "state_key", "content"}
    assert all(set(event) == stripped for event in events if event["type"] == "m.room.name"), events
    assert has_nothing(syncing.sync())
    assert room_id in Syncing(bob).sync()["rooms"]["invite"]


def test_a_rejected_invite_is_a_left_room(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, invite=[bob.user_id])
    send(alice, room_id, "secret")
    syncing = Syncing(bob)
    syncing.sync()
    leave(bob, room_id)
    section = syncing.sync()["rooms"]["leave"][room_id]
    assert [event["content"]["membership"] for event in timeline(section)] == ["leave"]
    assert has_nothing(syncing.sync())


def test_an_invite_brings_no_more_of_a_room_than_fits(
    make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("murmuration.rooms.writing.append.MAX_MEMBER_BYTES", 65_536)
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, name="Come in", topic="x" * 20_000)
    for event_type in ("m.room.avatar", "m.room.encryption", "m.room.canonical_alias"):
        set_state(alice, room_id, event_type, {"filler": "x" * 60_000})
    set_state(alice, room_id, "m.room.join_rules", {"join_rule": "knock", "filler": "x" * 60_000})
    ok(bob.post(f"/_matrix/client/v3/knock/{room_id}", {"reason": "x" * 60_000}))
    large = {"membership": "invite", "filler": "x" * 60_000}
    set_state(alice, room_id, "m.room.member", large, bob.user_id)
    answer = Syncing(bob).sync()
    events = answer["rooms"]["invite"][room_id]["invite_state"]["events"]
    told = {event["type"]: event["content"] for event in events if event["state_key"] != alice.user_id}
    assert set(told) == {"m.room.create", "m.room.name", "m.room.member"}
    assert told["m.room.member"] == {"membership": "invite"}


LEFT = {"room": {"include_leave": True}}


@pytest.mark.parametrize("after", ["state", "state_after"])
@pytest.mark.parametrize("since", [True, False])
@pytest.mark.parametrize("end", ["reject", "ban"])
def test_who_never_was_in_a_room_sees_none_of_its_state(
    make_client: Make, end: str, since: bool, after: str
) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, name="Secret")
    syncing = Syncing(bob, filter=LEFT)
    if since:
        syncing.sync()
    if end == "reject":
        invite(alice, room_id, bob)
        leave(bob, room_id)
    else:
        ok(alice.post(path(room_id, "ban"), {"user_id": bob.user_id}))
    wanted = {"full_state": "true"} | ({"use_state_after": "true"} if after == "state_after" else {})
    section = syncing.peek(**wanted)["rooms"]["leave"][room_id]
    assert set(state(section, after)) <= {("m.room.member", bob.user_id)}


@pytest.mark.parametrize("wanted", [{}, {"use_state_after": "true"}, {"full_state": "true"}])
def test_who_is_banned_after_leaving_sees_no_state_of_between(
    make_client: Make, wanted: dict[str, str]
) -> None:
    alice, bob, room_id, syncing = pair(make_client)
    leave(bob, room_id)
    set_state(alice, room_id, "m.room.topic", {"topic": "Behind your back"})
    ok(alice.post(path(room_id, "ban"), {"user_id": bob.user_id}))
    section = syncing.sync(**wanted)["rooms"]["leave"][room_id]
    assert [event["content"]["membership"] for event in timeline(section)] == ["ban"]
    assert "Behind your back" not in str(section)


def test_an_accepted_invite_brings_the_room(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, invite=[bob.user_id])
    syncing = Syncing(bob)
    syncing.sync()
    join(bob, room_id)
    answer = syncing.sync()
    assert "invite" not in answer["rooms"]
    section = answer["rooms"]["join"][room_id]
    assert timeline(section)[-1]["content"]["membership"] == "join"


def test_a_knock(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    rules = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    room_id = create_room(alice, initial_state=rules, name="Knock")
    syncing = Syncing(bob)
    syncing.sync()
    ok(bob.post(f"/_matrix/client/v3/knock/{room_id}"))
    events = syncing.sync()["rooms"]["knock"][room_id]["knock_state"]["events"]
    assert "m.room.name" in {event["type"] for event in events}
    leave(bob, room_id)
    assert room_id in syncing.sync()["rooms"]["leave"]


def test_leaving_shows_all_up_to_it_and_nothing_after(make_client: Make) -> None:
    alice, bob, room_id, syncing = pair(make_client)
    send(alice, room_id, "seen")
    leave(bob, room_id)
    send(alice, room_id, "unseen")
    section = syncing.sync()["rooms"]["leave"][room_id]
    assert bodies(timeline(section)) == ["seen"]
    assert timeline(section)[-1]["content"]["membership"] == "leave"
    send(alice, room_id, "later")
    assert has_nothing(syncing.sync())


def test_leaving_is_told_where_the_timeline_filter_drops_it(make_client: Make) -> None:
    alice, bob, room_id, syncing = pair(make_client)
    syncing.filter = {"room": {"timeline": {"types": ["m.room.message"]}}}
    set_state(alice, room_id, "m.room.topic", {"topic": "news"})
    leave(bob, room_id)
    section = syncing.sync()["rooms"]["leave"][room_id]
    assert timeline(section) == []
    assert state(section).keys() == {("m.room.topic", ""), ("m.room.member", bob.user_id)}


def test_a_room_that_is_forgotten_at_once_is_told_as_left(make_client: Make) -> None:
    alice, bob, room_id, syncing = pair(make_client)
    invited = create_room(alice, invite=[bob.user_id])
    syncing.sync()
    for each in (room_id, invited):
        send(alice, each, "unseen")
        leave(bob, each)
        ok(bob.post(path(each, "forget")))
    rooms = syncing.sync()["rooms"]["leave"]
    assert rooms.keys() == {room_id, invited}
    for section in rooms.values():
        assert [event["content"]["membership"] for event in timeline(section)] == ["leave"]
    assert has_nothing(syncing.sync())
    everything = Syncing(bob, filter={"room": {"include_leave": True}}).sync()
    assert "rooms" not in everything
    join(bob, room_id)
    assert syncing.room(room_id)["timeline"]["limited"]


def test_a_repeated_invite_has_the_state_of_its_time(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, name="Before", invite=[bob.user_id])
    syncing = Syncing(bob)
    syncing.sync()
    set_state(alice, room_id, "m.room.name", {"name": "After"})
    ok(alice.post(path(room_id, "invite"), {"user_id": bob.user_id, "reason": "again"}))
    stripped = syncing.sync()["rooms"]["invite"][room_id]["invite_state"]["events"]
    assert {"name": "After"} in [event["content"] for event in stripped]


@pytest.mark.parametrize("way", ["kick", "ban"])
def test_being_removed(make_client: Make, way: str) -> None:
    alice, bob, room_id, syncing = pair(make_client)
    ok(alice.post(path(room_id, way), {"user_id": bob.user_id, "reason": "rude"}))
    section = syncing.sync()["rooms"]["leave"][room_id]
    content = timeline(section)[-1]["content"]
    assert content["membership"] == ("leave" if way == "kick" else "ban")
    assert content["reason"] == "rude"
    assert has_nothing(syncing.sync())


def test_coming_back_between_two_syncs(make_client: Make) -> None:
    alice, bob, room_id, syncing = pair(make_client)
    leave(bob, room_id)
    set_state(alice, room_id, "m.room.topic", {"topic": "While you were away"})
    join(bob, room_id)
    answer = syncing.sync()
    assert "leave" not in answer["rooms"]
    section = answer["rooms"]["join"][room_id]
    assert section["timeline"]["limited"] is True
    topics = {**state(section), **{(e["type"], e.get("state_key")): e for e in timeline(section)}}
    assert ("m.room.topic", "") in topics


def test_coming_back_after_a_sync(make_client: Make) -> None:
    alice, bob, room_id, syncing = pair(make_client)
    leave(bob, room_id)
    syncing.sync()
    send(alice, room_id, "missed")
    join(bob, room_id)
    section = syncing.room(room_id)
    assert ("m.room.create", "") in {
        **state(section),
        **{(event["type"], event.get("state_key")): event for event in timeline(section)},
    }
    assert timeline(section)[-1]["content"]["membership"] == "join"


def test_left_rooms_in_a_first_sync_only_on_demand(make_client: Make) -> None:
    _, bob, room_id, _ = pair(make_client)
    leave(bob, room_id)
    assert "rooms" not in Syncing(bob).sync()
    answer = Syncing(bob, filter={"room": {"include_leave": True}}).sync()
    assert room_id in answer["rooms"]["leave"]


@pytest.mark.parametrize("begins", [False, True])
def test_a_left_room_without_a_timeline_has_the_state_of_its_leaving(make_client: Make, begins: bool) -> None:
    alice, bob, room_id, syncing = pair(make_client)
    set_state(alice, room_id, "m.room.topic", {"topic": "Last words"})
    leave(bob, room_id)
    set_state(alice, room_id, "m.room.topic", {"topic": "Behind your back"})
    syncing.filter = {"room": {"include_leave": True, "timeline": {"limit": 0}}}
    if begins:
        syncing.since = None
    section = syncing.sync()["rooms"]["leave"][room_id]
    assert timeline(section) == []
    found = state(section)
    assert found["m.room.topic", ""]["content"]["topic"] == "Last words"
    assert found["m.room.member", bob.user_id]["content"]["membership"] == "leave"


def test_a_left_room_in_state_after(make_client: Make) -> None:
    alice, bob, room_id, syncing = pair(make_client)
    set_state(alice, room_id, "m.room.topic", {"topic": "Last words"})
    leave(bob, room_id)
    set_state(alice, room_id, "m.room.topic", {"topic": "Behind your back"})
    section = syncing.sync(use_state_after="true")["rooms"]["leave"][room_id]
    after = state(section, "state_after")
    assert after[("m.room.topic", "")]["content"]["topic"] == "Last words"
    assert after[("m.room.member", bob.user_id)]["content"]["membership"] == "leave"


def test_what_follows_a_leave_that_a_look_overlooked_stays_hidden(
    make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memberships are read before the rooms. If one changes in between, later events must stay hidden."""
    alice, bob, room_id, syncing = pair(make_client)
    read = memberships.read_memberships

    def overtaken(user_id: UserId, **options: Any) -> Any:
        rows = read(user_id, **options)
        monkeypatch.undo()
        leave(bob, room_id)
        send(alice, room_id, "not for Bob")
        return rows

    monkeypatch.setattr(memberships, "read_memberships", overtaken)
    assert has_nothing(syncing.sync())
    section = syncing.sync()["rooms"]["leave"][room_id]
    assert bodies(timeline(section)) == []
    assert timeline(section)[-1]["content"]["membership"] == "leave"


def test_what_a_look_leaves_out_of_a_room_comes_with_the_next(
    make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a membership changes during a look, the room is left out, with its tags and receipts."""
    _, bob, room_id, syncing = pair(make_client)
    tag = f"{V3}/user/{segment(bob.user_id)}/rooms/{segment(room_id)}/tags/u.work"
    ok(bob.put(tag, {"order": 0.5}))
    read = memberships.read_memberships

    def overtaken(user_id: UserId, **options: Any) -> Any:
        rows = read(user_id, **options)
        monkeypatch.undo()
        ok(bob.put(f"{V3}/profile/{segment(bob.user_id)}/displayname", {"displayname": "Robert"}))
        return rows

    monkeypatch.setattr(memberships, "read_memberships", overtaken)
    assert room_id not in syncing.sync().get("rooms", {}).get("join", {})
    section = syncing.room(room_id)
    assert [event["type"] for event in section["account_data"]["events"]] == ["m.tag"]
    assert timeline(section)[-1]["content"]["displayname"] == "Robert"
    assert has_nothing(syncing.sync())


@pytest.mark.usefixtures("sqs", "held")
def test_a_leave_that_a_late_look_overlooks_comes_with_the_next(
    make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rooms' heads may be read a little late, their memberships are never."""
    alice, bob, room_id, syncing = pair(make_client)
    before = Room.load(room_id)
    leave(bob, room_id)
    elsewhere = create_room(alice, invite=[bob.user_id])
    monkeypatch.setattr(sync_tokens, "FRESH_S", -1)  # else nothing is read late
    overlooked = {room_id: before}
    monkeypatch.setattr(assembling, "read_rooms", lambda _ids, late, _surely: overlooked if late else {})
    assert syncing.sync(timeout=1000)["rooms"].keys() == {"invite"}, elsewhere
    monkeypatch.undo()
    section = syncing.sync(use_state_after="true")["rooms"]["leave"][room_id]
    assert timeline(section)[-1]["content"]["membership"] == "leave"
    assert state(section, "state_after").keys() == {("m.room.member", bob.user_id)}
