"""Backfilling: fetching events from before the log's beginning."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration.federation.inbound.backfilling import backfill
from murmuration.protocol.errors import BadJson
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.pdus import event_format
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from tests.in_process import Client
from tests.rooms.other_servers import Mirror, current_state, log_ids
from tests.rooms.people import bodies, messages, send
from tests.rooms.receiving.test_receiving import BOB, EVE, open_room
from tests.rooms.writing.test_redactions import redaction

Make = Callable[..., Client]


def with_gap(alice: Client, version: str = "12") -> tuple[Mirror, list[Event], Event]:
    """Return a room, the messages in it that we didn't receive, and those that we received after them."""
    mirror = open_room(alice, version)
    lost = [mirror.message(BOB, str(number)) for number in range(3)]
    lost += [mirror.member(EVE, EVE, "join"), mirror.message(UserId(EVE), "from eve")]
    heard = mirror.message(UserId(EVE), "heard")
    mirror.hidden.update(event.event_id for event in lost)
    assert mirror.kinds(heard) == ["accepted"]
    return mirror, lost, heard


def pdus(events: list[Event]) -> list[object]:
    return [event.pdu for event in events]


@pytest.mark.parametrize("version", ["1", "12"])
def test_past_gets_its_place_in_the_gap(alice: Client, version: str) -> None:
    mirror, lost, _ = with_gap(alice, version)
    before = Room.load(RoomId(mirror.room_id)).head
    state = current_state(mirror.room_id)
    received = backfill(RoomId(mirror.room_id), pdus(lost[::-1]), mirror)
    assert {(it.event_id, it.kind) for it in received} == {(it.event_id, "accepted") for it in lost}
    assert log_ids(mirror.room_id)[-6:-1] == [event.event_id for event in lost]
    after = Room.load(RoomId(mirror.room_id)).head
    assert (after.oldest, after.ordinal) == (before.oldest, before.ordinal)
    assert after.state_root == before.state_root
    assert len(before.extremities) == 2
    assert after.extremities == before.extremities[1:], "the past follows the other"
    assert current_state(mirror.room_id) == state
    entries = room_items.read_log(RoomId(mirror.room_id), mirror.version)
    roots = {entry.event.event_id: entry.state_root for entry in entries}
    assert len({roots[event.event_id] for event in lost}) == 2, "the state changes with Eve's joining only"
    page = messages(alice, mirror.room_id, limit=100)["chunk"]
    assert bodies(page) == ["heard", "from eve", "2", "1", "0"]


def test_twice_and_at_once(alice: Client) -> None:
    mirror, lost, _ = with_gap(alice)
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: backfill(RoomId(mirror.room_id), pdus(lost), mirror), range(3)))
        assert sum(len(result) for result in results) == 5
    assert backfill(RoomId(mirror.room_id), pdus(lost), mirror) == []
    assert len(set(log_ids(mirror.room_id))) == len(log_ids(mirror.room_id))
    send(alice, mirror.room_id, "and on")


def test_what_nothing_follows_is_no_past(alice: Client) -> None:
    mirror, lost, heard = with_gap(alice)
    fresh = mirror.message(BOB, "new", after=heard)
    before = log_ids(mirror.room_id)
    assert backfill(RoomId(mirror.room_id), pdus([fresh]), mirror) == []
    assert log_ids(mirror.room_id) == before
    assert mirror.kinds(fresh) == ["accepted"]
    # Without what connects it to the log, older past is none yet either.
    assert backfill(RoomId(mirror.room_id), pdus(lost[:3]), mirror) == []
    mirror.hidden.clear()
    assert len(backfill(RoomId(mirror.room_id), pdus(lost[3:]), mirror)) == 2
    assert len(backfill(RoomId(mirror.room_id), pdus(lost[:3]), mirror)) == 3
    ids = log_ids(mirror.room_id)
    assert ids[-7:-2] == [event.event_id for event in lost]


def test_bad_events_are_dropped_or_rejected(alice: Client) -> None:
    mirror = open_room(alice)
    refused = mirror.topic(BOB, "not his to set")
    lost = mirror.message(BOB, "fine", after=refused)
    heard = mirror.message(BOB, "heard", after=lost)
    mirror.hidden.update((refused.event_id, lost.event_id))
    mirror.send(heard)
    forged = {**lost.pdu, "signatures": {}}
    received = backfill(RoomId(mirror.room_id), [None, forged, lost.pdu, refused.pdu], mirror)
    assert {(it.event_id, it.kind) for it in received} == {
        (lost.event_id, "accepted"),
        (refused.event_id, "rejected"),
    }
    assert refused.event_id not in log_ids(mirror.room_id)


def test_redacted_past_comes_redacted(alice: Client) -> None:
    mirror = open_room(alice)
    said = mirror.message(BOB, "regrettable")
    gone = redaction(mirror, BOB, said)
    heard = mirror.message(BOB, "heard")
    mirror.hidden.update((said.event_id, gone.event_id))
    mirror.send(heard)
    assert len(backfill(RoomId(mirror.room_id), pdus([gone, said]), mirror)) == 2
    entries = {it.event.event_id: it for it in room_items.read_log(RoomId(mirror.room_id), mirror.version)}
    assert entries[said.event_id].event.content == {}
    assert not entries[gone.event_id].withheld


def test_past_may_refer_to_more_events_than_new_ones(alice: Client) -> None:
    mirror = open_room(alice)
    base = mirror.newest()
    forks = [mirror.message(BOB, str(number), after=base) for number in range(20)]
    assert set(mirror.kinds(*forks)) == {"accepted"}
    last = mirror.message(BOB, "last", after=base)
    mirror.send(last)
    with pytest.raises(BadJson):
        mirror.message(BOB, "wide", after=[*forks, last])
    wide = wide_event(mirror, [*forks, last])
    heard = mirror.message(BOB, "heard", after=wide)
    mirror.hidden.add(wide.event_id)
    assert mirror.kinds(heard) == ["accepted"]
    with pytest.raises(BadJson):
        mirror.send(wide)
    assert [it.kind for it in backfill(RoomId(mirror.room_id), [wide.pdu], mirror)] == ["accepted"]
    assert bodies(messages(alice, mirror.room_id)["chunk"])[:2] == ["heard", "wide"]


def wide_event(mirror: Mirror, previous: list[Event]) -> Event:
    """Return a message of Bob's that follows more events than its server may send as new."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_format, "MAX_PREV_EVENTS", 100)
        return mirror.message(BOB, "wide", after=previous)
