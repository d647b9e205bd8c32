"""/sync splits updates that are too large for one answer, and misses none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.federation.membership import outside
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.storage.users.memberships import Membership
from murmuration.sync.joined import TIMELINE_BYTES
from tests.in_process import Client, segment
from tests.rooms.people import V3, bodies, create_room, invite, join, messages, ok, path, relate, send
from tests.sync.client import Syncing, has_nothing, timeline

Make = Callable[..., Client]
LONG = "x" * 58_000


def long_messages(client: Client, room_id: str, count: int, *, mark: str = "m") -> list[str]:
    texts = [f"{mark}{number} {LONG}" for number in range(count)]
    for text in texts:
        send(client, room_id, text)
    return texts


def all_bodies(client: Client, room_id: str, section: Any) -> list[str]:
    """Return the messages of a room that a client gets by the section of one sync and by filling the gap
    before it.
    """
    found = bodies(timeline(section))
    token = section["timeline"]["prev_batch"]
    while section["timeline"]["limited"]:
        page = messages(client, room_id, "b", **{"from": token}, limit=100)
        found = bodies(page["chunk"])[::-1] + found
        if "end" not in page:
            break
        token = page["end"]
    return found


@pytest.mark.parametrize("first", [True, False])
def test_one_room_with_more_than_fits_is_cut_and_its_gap_can_be_filled(
    make_client: Make, first: bool
) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    syncing = Syncing(bob, filter={"room": {"timeline": {"limit": 100}}})
    if not first:
        syncing.sync()
    texts = long_messages(alice, room_id, 30)
    section = syncing.room(room_id)
    assert section["timeline"]["limited"]
    shown = bodies(timeline(section))
    assert shown == texts[-len(shown) :]
    assert 10 < len(shown) <= TIMELINE_BYTES // 58_000
    assert all_bodies(bob, room_id, section) == texts
    assert has_nothing(syncing.sync())


def test_several_large_rooms_with_edited_messages_all_come(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    rooms = [create_room(alice, preset="public_chat") for _ in range(6)]
    syncing = Syncing(bob, filter={"room": {"timeline": {"limit": 20}}})
    for room_id in rooms:
        join(bob, room_id)
    while not has_nothing(syncing.sync()):
        pass
    for room_id in rooms:
        for number in range(10):
            parent = send(alice, room_id, f"m{number} {LONG[:25_000]}")
            new = {"msgtype": "m.text", "body": LONG[:25_000]}
            relate(alice, room_id, parent, "m.replace", **{"m.new_content": new})
    told: list[str] = []
    while not has_nothing(answer := syncing.sync()):
        told += answer["rooms"]["join"]
    assert sorted(told) == sorted(rooms)


def test_no_room_is_left_out_for_ever(make_client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("murmuration.sync.answer.Answer.bytes_for_rooms", lambda _answer: 60_000)
    alice, bob = make_client("alice"), make_client("bob")
    rooms = [create_room(alice, preset="public_chat") for _ in range(4)]
    for room_id in rooms:
        join(bob, room_id)
    syncing = Syncing(bob)
    while not has_nothing(syncing.sync()):
        pass
    waiting = set(rooms)
    for _ in rooms:
        for room_id in rooms:  # all of them go on and on
            send(alice, room_id, LONG)
        waiting -= set(syncing.sync()["rooms"]["join"])
    assert not waiting


def test_all_of_a_rooms_state_comes_after_a_full_state_that_had_no_room_for_it(
    make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("murmuration.sync.answer.Answer.bytes_for_rooms", lambda _answer: 1_000)
    alice = make_client("alice")
    rooms = [create_room(alice) for _ in range(3)]
    syncing = Syncing(alice)
    while not has_nothing(syncing.sync()):
        pass
    answer = syncing.sync(full_state="true")
    told = list(answer["rooms"]["join"])
    while not has_nothing(answer := syncing.sync()):
        for room_id, section in answer["rooms"]["join"].items():
            events = [*section["state"]["events"], *timeline(section)]
            assert "m.room.create" in {event["type"] for event in events}
            told.append(room_id)
    assert sorted(told) == sorted(rooms)


def test_many_invites_come_in_several_answers(make_client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("murmuration.sync.answer.Answer.bytes_for_rooms", lambda _answer: 3_000)
    alice, bob = make_client("alice"), make_client("bob")
    rooms = [create_room(alice, name="n" * 400) for _ in range(5)]
    for room_id in rooms:
        invite(alice, room_id, bob)
    syncing = Syncing(bob)
    told: list[str] = []
    while not has_nothing(answer := syncing.sync()):
        assert len(answer["rooms"]["invite"]) < len(rooms)
        told += answer["rooms"]["invite"]
    assert sorted(told) == sorted(rooms)


def test_left_rooms_come_in_several_answers(make_client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    rooms = [create_room(alice, preset="public_chat") for _ in range(3)]
    for room_id in rooms:
        join(bob, room_id)
    syncing = Syncing(bob)
    while not has_nothing(syncing.sync()):
        pass
    monkeypatch.setattr("murmuration.sync.answer.Answer.bytes_for_rooms", lambda _answer: 60_000)
    for room_id in rooms:
        send(alice, room_id, LONG)
        ok(bob.post(path(room_id, "leave")))
    told: list[str] = []
    while not has_nothing(answer := syncing.sync()):
        assert len(answer["rooms"]["leave"]) == 1
        told += answer["rooms"]["leave"]
    assert sorted(told) == sorted(rooms)


def test_account_data_over_an_answer_comes_in_several_and_hides_from_the_first(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    own = f"{V3}/user/{segment(bob.user_id)}/account_data"
    wanted = {f"x.{number}" for number in range(20)}
    for data_type in sorted(wanted):
        ok(bob.put(f"{own}/{data_type}", {"text": "y" * 340_000}))
    ok(bob.put(f"{own}/m.ignored_user_list", {"ignored_users": {alice.user_id: {}}}))
    send(alice, room_id, "from one who is ignored")
    syncing = Syncing(bob)
    told: list[str] = []
    while not has_nothing(answer := syncing.sync()):
        for section in answer.get("rooms", {}).get("join", {}).values():
            assert bodies(timeline(section)) == []
        told += [event["type"] for event in answer.get("account_data", {}).get("events", [])]
    assert wanted | {"m.ignored_user_list"} <= set(told)
    assert len([each for each in told if each in wanted]) == len(wanted)


def unless_there(row: Membership, before: Membership | None) -> Membership | None:
    return None if before is not None else row


def test_ended_invites_of_other_servers_come_in_several_answers(
    make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = make_client("bob")
    user_id = UserId(bob.user_id)
    syncing = Syncing(bob)
    syncing.sync()
    monkeypatch.setattr("murmuration.sync.answer.Answer.bytes_for_rooms", lambda _answer: 3_000)
    rooms = [RoomId(f"!{number}:elsewhere.example") for number in range(5)]
    for room_id in rooms:
        event: dict[str, Any] = {
            "type": "m.room.member", "state_key": user_id, "sender": user_id, "event_id": f"${room_id}",
            "content": {"membership": "leave", "reason": "r" * 1_000}, "origin_server_ts": 1, "unsigned": {},
        }  # fmt: skip
        ended = Membership(
            user_id, room_id, "leave", EventId(event["event_id"]), user_id, None, None, "invite", [event]
        )
        outside.record(user_id, room_id, functools.partial(unless_there, ended))
    told: list[str] = []
    while not has_nothing(answer := syncing.sync()):
        assert 0 < len(answer["rooms"]["leave"]) < len(rooms)
        told += answer["rooms"]["leave"]
    assert sorted(told) == sorted(rooms)
