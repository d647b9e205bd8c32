"""Joined rooms in a sync: timeline, state, summary, filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.sync import joined
from murmuration.sync.answer import Answer as SyncAnswer
from tests.in_process import Client, segment
from tests.rooms.people import (
    V1,
    V3,
    bodies,
    create_room,
    event_ids,
    invite,
    join,
    leave,
    messages,
    ok,
    path,
    redact,
    refused,
    send,
    set_state,
)
from tests.sync.client import Syncing, bodies_of, has_nothing, state, timeline, types

Make = Callable[..., Client]
LAZY = {"room": {"state": {"lazy_load_members": True}}}


def members(section: Any, name: str = "state") -> set[str]:
    return {key for kind, key in state(section, name) if kind == "m.room.member"}


def test_first_sync_has_the_room_whole(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice, name="A room")
    sent = [send(alice, room_id, str(number)) for number in range(3)]
    section = Syncing(alice).room(room_id)
    assert event_ids(timeline(section))[-3:] == sent
    seen = {(event["type"], event.get("state_key")) for event in timeline(section)} | set(state(section))
    assert {("m.room.create", ""), ("m.room.name", ""), ("m.room.member", alice.user_id)} <= seen
    assert section["unread_notifications"] == {"notification_count": 0, "highlight_count": 0}
    assert all("room_id" not in event for event in timeline(section))


def test_a_limit_of_0_gives_no_events(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice, name="Here")
    send(alice, room_id, "first")
    bare = Syncing(alice, filter={"room": {"timeline": {"limit": 0}}})
    section = bare.room(room_id)
    assert (section["timeline"]["events"], section["timeline"]["limited"]) == ([], True)
    assert {event["type"] for event in section["state"]["events"]} >= {"m.room.create", "m.room.name"}
    event_id = send(alice, room_id, "second")
    section = bare.room(room_id)
    assert (section["timeline"]["events"], section["timeline"]["limited"]) == ([], True)
    before = path(room_id, "messages")
    query = {"dir": "b", "from": section["timeline"]["prev_batch"]}
    assert ok(alice.get(before, limit=1, **query))["chunk"][0]["event_id"] == event_id
    for limited in ({"limit": 0}, {"filter": '{"limit": 0}'}):
        assert ok(alice.get(before, **query, **limited))["chunk"] == []
    assert ok(alice.get(path(room_id, "threads", version=V1), limit=0)) == {"chunk": []}
    relations = path(room_id, "relations", event_id, version=V1)
    assert ok(alice.get(relations, limit=0))["chunk"] == []


def test_limited_first_sync_has_the_state_before_its_timeline(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice, name="Before")
    for number in range(12):
        send(alice, room_id, str(number))
    set_state(alice, room_id, "m.room.name", {"name": "After"})
    section = Syncing(alice).room(room_id)
    assert section["timeline"]["limited"] is True
    assert len(timeline(section)) == 10
    assert state(section)[("m.room.name", "")]["content"]["name"] == "Before"
    assert timeline(section)[-1]["content"] == {"name": "After"}
    earlier = messages(alice, room_id, start=None, **{"from": section["timeline"]["prev_batch"]})
    assert not set(event_ids(earlier["chunk"])) & set(event_ids(timeline(section)))
    assert bodies(earlier["chunk"])[0] == "2"


def test_nothing_new_keeps_the_token(make_client: Make) -> None:
    alice = make_client("alice")
    create_room(alice)
    syncing = Syncing(alice)
    token = syncing.sync()["next_batch"]
    answer = syncing.sync()
    assert has_nothing(answer)
    assert answer["next_batch"] == token
    assert answer["device_one_time_keys_count"] == {}


def test_incremental_sync_has_each_event_once_in_order(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice)
    syncing = Syncing(alice)
    syncing.sync()
    sent = [send(alice, room_id, str(number)) for number in range(4)]
    section = syncing.room(room_id)
    assert event_ids(timeline(section)) == sent
    assert section["timeline"]["limited"] is False
    assert state(section) == {}
    assert has_nothing(syncing.sync())


def test_an_old_token_gives_the_same_again(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice)
    syncing = Syncing(alice)
    syncing.sync()
    send(alice, room_id)
    first, second = syncing.peek(), syncing.peek()
    pick = [event_ids(timeline(answer["rooms"]["join"][room_id])) for answer in (first, second)]
    assert pick[0] == pick[1] != []


def test_limited_incremental_sync_has_the_state_that_changed_in_the_gap(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat", name="Before")
    syncing = Syncing(alice)
    syncing.sync()
    set_state(alice, room_id, "m.room.name", {"name": "Gap"})
    join(bob, room_id)
    for number in range(11):
        send(bob, room_id, str(number))
    section = syncing.room(room_id)
    assert section["timeline"]["limited"] is True
    assert set(state(section)) == {("m.room.name", ""), ("m.room.member", bob.user_id)}
    assert section["summary"]["m.joined_member_count"] == 2


def test_state_that_the_timeline_filter_drops_is_not_lost(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice, name="First")
    only_messages = {"room": {"timeline": {"types": ["m.room.message"]}}}
    syncing = Syncing(alice, filter=only_messages)
    send(alice, room_id)
    section = syncing.room(room_id)
    assert types(timeline(section)) == ["m.room.message"]
    assert state(section)[("m.room.name", "")]["content"]["name"] == "First"
    set_state(alice, room_id, "m.room.name", {"name": "Second"})
    section = syncing.room(room_id)
    assert timeline(section) == []
    assert state(section)[("m.room.name", "")]["content"]["name"] == "Second"


def test_a_newcomer_has_the_state_that_history_hides(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    hidden = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room_id = create_room(alice, preset="public_chat", initial_state=hidden)
    send(alice, room_id, "secret")
    syncing = Syncing(bob)
    syncing.sync()
    join(bob, room_id)
    send(alice, room_id, "hello")
    section = syncing.room(room_id)
    assert bodies(timeline(section)) == ["hello"]
    assert section["timeline"]["limited"] is True
    told = {(event["type"], event.get("state_key")) for event in timeline(section)} | set(state(section))
    assert {("m.room.create", ""), ("m.room.member", alice.user_id)} <= told
    assert ("m.room.history_visibility", "") in told


def test_lazy_loading_sends_members_once(make_client: Make) -> None:
    alice, bob, carol = make_client("alice"), make_client("bob"), make_client("carol")
    room_id = create_room(alice, preset="public_chat", name="Named")
    join(bob, room_id)
    join(carol, room_id)
    for number in range(11):
        send(bob, room_id, str(number))
    syncing = Syncing(alice, filter=LAZY)
    section = syncing.room(room_id)
    assert members(section) == {alice.user_id, bob.user_id}
    send(bob, room_id)
    assert members(syncing.room(room_id)) == set()
    send(carol, room_id)
    assert members(syncing.room(room_id)) == {carol.user_id}
    send(carol, room_id)
    assert members(syncing.room(room_id)) == set()


def test_redundant_members_are_sent_again_on_demand(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    again = {"room": {"state": {"lazy_load_members": True, "include_redundant_members": True}}}
    syncing = Syncing(alice, filter=again)
    syncing.sync()
    for _ in range(2):
        send(bob, room_id)
        assert members(syncing.room(room_id)) == {bob.user_id}


def test_full_state(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice, name="Name")
    syncing = Syncing(alice)
    syncing.sync()
    section = syncing.room(room_id, full_state="true")
    assert state(section)[("m.room.name", "")]["content"]["name"] == "Name"
    assert timeline(section) == []
    send(alice, room_id)
    section = syncing.room(room_id, full_state="true", timeout=20_000)
    assert ("m.room.create", "") in state(section)
    assert len(timeline(section)) == 1


def test_state_after(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice, name="First")
    syncing = Syncing(alice)
    section = syncing.room(room_id, use_state_after="true")
    assert "state" not in section
    assert state(section, "state_after")[("m.room.name", "")]["content"]["name"] == "First"
    set_state(alice, room_id, "m.room.name", {"name": "Second"})
    send(alice, room_id)
    section = syncing.room(room_id, use_state_after="true")
    assert set(state(section, "state_after")) == {("m.room.name", "")}
    assert types(timeline(section)) == ["m.room.name", "m.room.message"]


def test_state_after_by_the_name_that_element_web_knows(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice, name="First")
    syncing = Syncing(alice)
    unstable = {"org.matrix.msc4222.use_state_after": "true"}
    section = syncing.room(room_id, **unstable)
    assert not {"state", "state_after"} & section.keys()
    named = state(section, "org.matrix.msc4222.state_after")
    assert named[("m.room.name", "")]["content"]["name"] == "First"
    set_state(alice, room_id, "m.room.name", {"name": "Second"})
    send(alice, room_id)
    section = syncing.room(room_id, **unstable)
    assert set(state(section, "org.matrix.msc4222.state_after")) == {("m.room.name", "")}
    assert "state_after" in syncing.room(room_id, full_state="true", use_state_after="true", **unstable)


def test_filters_of_rooms_and_types(make_client: Make) -> None:
    alice = make_client("alice")
    wanted, unwanted = create_room(alice), create_room(alice)
    syncing = Syncing(alice, filter={"room": {"not_rooms": [unwanted]}})
    assert set(syncing.sync()["rooms"]["join"]) == {wanted}
    send(alice, unwanted)
    assert has_nothing(syncing.sync())
    by_limit = Syncing(alice, filter={"room": {"timeline": {"limit": 1}}, "event_fields": ["type"]})
    section = by_limit.room(wanted)
    assert timeline(section) == [{"type": timeline(section)[0]["type"]}]


@pytest.mark.parametrize("version", ["10", "12"])
def test_each_section_has_its_own_filter_of_rooms(make_client: Make, version: str) -> None:
    alice = make_client("alice")
    room_id, other_id = create_room(alice, room_version=version), create_room(alice, room_version=version)
    for each in (room_id, other_id):
        ok(alice.put(path(each, "typing", alice.user_id), {"typing": True}))
        ok(alice.put(f"{V3}/user/{segment(alice.user_id)}/rooms/{segment(each)}/tags/u.x", {}))
    sections = ("timeline", "state", "ephemeral", "account_data")
    wanted = {"room": {name: {"not_rooms": [room_id]} for name in sections}}
    rooms = Syncing(alice, filter=wanted).sync()["rooms"]["join"]
    assert all(not rooms[room_id][name]["events"] for name in sections)
    assert all(rooms[other_id][name]["events"] for name in ("timeline", "ephemeral", "account_data"))


def test_the_format_of_federation_tells_the_event_id_too(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice)
    event_id = send(alice, room_id)
    shown = timeline(Syncing(alice, filter={"event_format": "federation"}).room(room_id))[-1]
    assert (shown["event_id"], shown["room_id"]) == (event_id, room_id)
    assert {"auth_events", "prev_events", "hashes", "signatures"} <= set(shown)


def test_stored_filter_by_its_id(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice)
    body = {"room": {"timeline": {"types": ["m.room.message"]}}}
    stored = alice.post(f"/_matrix/client/v3/user/{alice.user_id}/filter", body).json["filter_id"]
    send(alice, room_id)
    answer = Syncing(alice).sync(filter=stored)
    assert types(timeline(answer["rooms"]["join"][room_id])) == ["m.room.message"]
    for unknown in ("nonsense", "0"):
        refused(alice.get(f"{V3}/sync", filter=unknown), 400, "M_INVALID_PARAM")


def test_summary_names_heroes_where_the_room_has_no_name(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, invite=[bob.user_id])
    syncing = Syncing(alice)
    summary = syncing.room(room_id)["summary"]
    assert summary == {
        "m.joined_member_count": 1,
        "m.invited_member_count": 1,
        "m.heroes": [bob.user_id],
    }
    send(alice, room_id)
    assert syncing.room(room_id)["summary"] == {}
    join(bob, room_id)
    assert syncing.room(room_id)["summary"]["m.joined_member_count"] == 2
    set_state(alice, room_id, "m.room.name", {"name": "Named"})
    assert "m.heroes" not in syncing.room(room_id)["summary"]


def test_heroes_are_those_who_came_first(make_client: Make) -> None:
    alice = make_client("alice")
    others = [make_client(name) for name in ("zoe", "yan", "bob")]
    room_id = create_room(alice, preset="public_chat")
    for other in others:
        join(other, room_id)
    assert Syncing(alice).room(room_id)["summary"]["m.heroes"] == [other.user_id for other in others]


def test_heroes_are_found_among_many_who_left(make_client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "_FEW", 3)
    alice = make_client("zoe")
    gone = [make_client("a") for _ in range(3)]
    room_id = create_room(alice, preset="public_chat")
    for other in gone:
        join(other, room_id)
        leave(other, room_id)
    bob = make_client("bob")
    join(bob, room_id)
    assert Syncing(alice).room(room_id)["summary"]["m.heroes"] == [bob.user_id]


@pytest.mark.parametrize("state_after", ["false", "true"])
def test_heroes_come_with_their_member_events(make_client: Make, state_after: str) -> None:
    alice, bob, carol = make_client("alice"), make_client("bob"), make_client("carol")
    room_id = create_room(alice, invite=[bob.user_id, carol.user_id])
    for number in range(10):
        send(alice, room_id, str(number))
    syncing = Syncing(alice, filter=LAZY)
    name = "state_after" if state_after == "true" else "state"
    section = syncing.room(room_id, use_state_after=state_after)
    assert members(section, name) == {alice.user_id, bob.user_id, carol.user_id}
    ok(alice.post(path(room_id, "kick"), {"user_id": carol.user_id}))
    section = syncing.room(room_id, use_state_after=state_after)
    assert section["summary"]["m.heroes"] == [bob.user_id]
    assert bob.user_id not in members(section, name)


def test_the_sender_sees_the_transaction_id(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, invite=[bob.user_id])
    join(bob, room_id)
    syncing = {alice.user_id: Syncing(alice), bob.user_id: Syncing(bob)}
    for each in syncing.values():
        each.sync()
    alice.put(
        f"/_matrix/client/v3/rooms/{room_id}/send/m.room.message/mine", {"msgtype": "m.text", "body": "x"}
    )
    own, other = (timeline(each.room(room_id))[0]["unsigned"] for each in syncing.values())
    assert own["transaction_id"] == "mine"
    assert "transaction_id" not in other


def test_redacted_events_come_redacted(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice)
    syncing = Syncing(alice)
    syncing.sync()
    event_id = send(alice, room_id, "regretted")
    redact(alice, room_id, event_id)
    first, second = timeline(syncing.room(room_id))
    assert first["content"] == {}
    assert second["type"] == "m.room.redaction"


def test_bad_requests(make_client: Make) -> None:
    alice = make_client("alice")

    def errcode(**query: Any) -> tuple[int, str]:
        answer = alice.get("/_matrix/client/v3/sync", **query)
        return answer.status, answer.json["errcode"]

    assert errcode(since="never ours") == (400, "M_INVALID_PARAM")
    assert errcode(filter="{not json") == (400, "M_INVALID_PARAM")
    assert errcode(timeout="soon") == (400, "M_INVALID_PARAM")
    assert errcode(full_state="maybe") == (400, "M_INVALID_PARAM")
    stranger = Client("mma_eA.eA.secret.00000000")
    answer = stranger.get("/_matrix/client/v3/sync")
    assert (answer.status, answer.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")


def test_an_expired_token_begins_anew(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(alice)
    section = Syncing(alice, "s_AAAAAAAAAAAA").room(room_id)
    assert timeline(section)


def test_invited_without_state_changes(make_client: Make) -> None:
    """An event that the client doesn't get still lets it keep its place."""
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice)
    syncing = Syncing(bob)
    syncing.sync()
    send(alice, room_id)
    assert has_nothing(syncing.sync())
    invite(alice, room_id, bob)
    assert room_id in syncing.sync()["rooms"]["invite"]


@pytest.mark.parametrize("first", [True, False])
def test_more_rooms_than_fit_into_an_answer_come_in_several(
    make_client: Make, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    monkeypatch.setattr(SyncAnswer, "bytes_for_rooms", lambda _answer: 60_000)
    alice, bob = make_client("alice"), make_client("bob")
    room_ids = [create_room(alice, preset="public_chat") for _ in range(6)]
    for room_id in room_ids:
        join(bob, room_id)
    syncing = Syncing(bob)
    if not first:
        while not has_nothing(syncing.sync()):
            pass
    for room_id in room_ids:
        ok(bob.put(f"{V3}/user/{segment(bob.user_id)}/rooms/{segment(room_id)}/tags/u.{room_id[1:5]}", {}))
        send(alice, room_id, '"' * 20_000)
    told: list[str] = []
    tagged: set[str] = set()
    while not has_nothing(answer := syncing.sync()):
        sections = answer["rooms"]["join"]
        new = [room_id for room_id in sections if bodies_of(answer, room_id)]
        assert 0 < len(new) < len(room_ids)
        told += new
        tagged |= {room_id for room_id, section in sections.items() if section["account_data"]["events"]}
    assert sorted(told) == sorted(tagged) == sorted(room_ids)


@pytest.mark.parametrize(("limit", "others"), [(1, 10), (1, 150), (3, 40)])
def test_a_filter_finds_a_message_among_many_other_events(make_client: Make, limit: int, others: int) -> None:
    alice = make_client("alice")
    room_id = create_room(alice)
    wanted = {"room": {"timeline": {"limit": limit, "types": ["m.room.message"]}}}
    known, fresh = Syncing(alice, filter=wanted), Syncing(alice, filter=wanted)
    known.sync()
    message = send(alice, room_id)
    for number in range(others):
        relation = {"rel_type": "m.annotation", "event_id": message, "key": str(number)}
        send(alice, room_id, {"m.relates_to": relation}, "m.reaction")
    for syncing in (known, fresh):
        section = syncing.room(room_id)
        assert event_ids(timeline(section)) == [message]
        assert section["timeline"]["limited"] is False
