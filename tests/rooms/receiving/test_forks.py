"""Forked rooms: random ones against a reference, and what clients make of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.rooms.room import Room
from murmuration.rooms.writing import changes
from tests.in_process import Client
from tests.rooms.other_servers import OTHER, Mirror, current_state, log_ids
from tests.rooms.people import create_room, messages, ok, path, send
from tests.rooms.random_forks import BOB, CAROL, Reference, random_event
from tests.rooms.receiving.test_receiving import RESOLUTIONS, open_room, soft_failed_fork
from tests.sync.client import Syncing, state, timeline

Make = Callable[..., Client]


class Believer:
    """A client that believes what its syncs tell: the state is what it was told last."""

    def __init__(self, client: Client, room_id: str, *, state_after: bool = False, limit: int = 10) -> None:
        self.syncing = Syncing(client, filter={"room": {"timeline": {"limit": limit}}})
        self.room_id = room_id
        self.state_after = state_after
        self.state: dict[StateKey, EventId] = {}
        self.shown: list[str] = []

    def sync(self) -> Any:
        wanted = {"use_state_after": "true"} if self.state_after else {}
        section = self.syncing.room(self.room_id, **wanted)
        events = timeline(section)
        told = state(section, "state_after" if self.state_after else "state")
        self.state |= {pair: event["event_id"] for pair, event in told.items()}
        if not self.state_after:
            for event in events:
                if "state_key" in event:
                    self.state[event["type"], event["state_key"]] = event["event_id"]
        self.shown += [event["event_id"] for event in events]
        return section


@pytest.mark.parametrize("version", RESOLUTIONS)
@pytest.mark.parametrize("seed", range(2))
def test_random_forks(make_client: Make, version: str, seed: int) -> None:
    rng = random.Random(f"{version}/{seed}")
    alice = make_client("alice")
    mirror = open_room(alice, version, admins=(UserId(BOB), UserId(CAROL)))
    reference = Reference(mirror)
    believers = [
        Believer(alice, mirror.room_id, limit=2),
        Believer(alice, mirror.room_id),
        Believer(alice, mirror.room_id, state_after=True),
    ]
    for believer in believers:
        believer.sync()
    removed: set[StateKey] = set()
    before = current_state(mirror.room_id)
    for number in range(12):
        event = random_event(mirror, alice.user_id, rng)
        assert mirror.kinds(event) == [reference.take(event)]
        now = current_state(mirror.room_id)
        assert set(Room.load(RoomId(mirror.room_id)).head.extremities) == reference.newest()
        assert now == reference.current()
        removed |= before.keys() - now.keys()
        before = now
        if number % 6 == 5:
            for believer in believers:
                believer.sync()
                # That a piece of state is there no more, /sync has no words for.
                assert {p: e for p, e in believer.state.items() if p in now} == now
                assert believer.state.keys() - now.keys() <= removed
    accepted = {event_id for event_id, kind in reference.kinds.items() if kind == "accepted"}
    assert set(log_ids(mirror.room_id)) == accepted
    page = [event["event_id"] for event in messages(alice, mirror.room_id, limit=100)["chunk"]]
    assert page == log_ids(mirror.room_id)[::-1]


def test_event_that_lost_is_not_taken_for_the_state(make_client: Make) -> None:
    alice = make_client("alice")
    mirror = open_room(alice, admins=(UserId(BOB),))
    base = mirror.newest()
    mine = mirror.topic(UserId(alice.user_id), "mine", after=base, origin_server_ts=2_000_000_000_000)
    mirror.send(mine)
    believer = Believer(alice, mirror.room_id)
    believer.sync()
    lost = mirror.topic(UserId(BOB), "his, too early", after=base)
    mirror.send(lost)
    assert current_state(mirror.room_id)["m.room.topic", ""] == mine.event_id
    section = believer.sync()
    assert section["timeline"]["limited"] is True
    assert believer.state["m.room.topic", ""] == mine.event_id
    # It isn't lost to the client: it lies right behind.
    page = messages(alice, mirror.room_id, **{"from": section["timeline"]["prev_batch"]})["chunk"]
    assert page[0]["event_id"] == lost.event_id


def test_soft_failed_state_that_counts_after_all_is_told(make_client: Make) -> None:
    alice = make_client("alice")
    mirror, ban, topic = soft_failed_fork(alice, "1")
    mirror.send(ban, topic)
    believer = Believer(alice, mirror.room_id)
    believer.sync()
    merge = mirror.message(UserId(CAROL), "saw both", after=[ban, topic])
    mirror.send(merge)
    section = believer.sync()
    assert state(section)["m.room.topic", ""]["event_id"] == topic.event_id
    assert [event["event_id"] for event in timeline(section)] == [merge.event_id]
    assert believer.state == current_state(mirror.room_id)


def test_state_at_an_event_is_that_of_the_log(make_client: Make) -> None:
    """/context and /members return the state as it was in the room, including resolutions."""
    alice = make_client("alice")
    mirror = open_room(alice, admins=(UserId(BOB),))
    base = mirror.newest()
    early = mirror.topic(UserId(BOB), "early", after=base)
    late = mirror.topic(UserId(alice.user_id), "late", after=base, origin_server_ts=2_000_000_000_000)
    mirror.send(late, early)
    seen = mirror.message(UserId(BOB), "seen", after=[early, late])
    newest = mirror.topic(UserId(BOB), "newest", after=seen, origin_server_ts=2_000_000_001_000)
    mirror.send(seen, newest)
    for event in (early, seen):
        context = ok(alice.get(path(mirror.room_id, "context", event.event_id), limit=0))
        told = {(it["type"], it["state_key"]): it["event_id"] for it in context["state"]}
        assert told["m.room.topic", ""] == late.event_id


def long_split(alice: Client) -> tuple[Mirror, Event]:
    """Make forty users join elsewhere without our receiving it, then receive an event of one of them."""
    room_id = RoomId(create_room(alice, preset="public_chat"))
    mirror = Mirror(room_id)
    after: Any = mirror.newest()
    mirror.send(mirror.message(UserId(alice.user_id), "ours", after=after))
    for number in range(40):
        user_id = UserId(f"@u{number}:{OTHER}")
        after = mirror.member(user_id, user_id, "join", after=after)
        mirror.hidden.add(after.event_id)
    return mirror, mirror.message(UserId(f"@u39:{OTHER}"), "all at once", after=after)


def test_more_changed_state_than_a_transaction_holds(make_client: Make) -> None:
    alice = make_client("alice")
    mirror, heard = long_split(alice)
    believer = Believer(alice, mirror.room_id)
    believer.sync()
    assert mirror.kinds(heard) == ["accepted"]
    head = Room.load(RoomId(mirror.room_id)).head
    assert (head.joined, head.unsettled) == (41, None)
    now = current_state(mirror.room_id)
    assert now == mirror.resolve(head.extremities)
    believer.sync()
    assert believer.state == now


def test_whoever_comes_next_brings_the_state_on_its_way_home(
    make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer stops after the head has moved. Nobody uses the state until it is written completely."""
    alice = make_client("alice")
    mirror, heard = long_split(alice)
    believer = Believer(alice, mirror.room_id)
    believer.sync()
    with monkeypatch.context() as stopped:
        stopped.setattr(changes, "settle", lambda room: room)
        assert mirror.kinds(heard) == ["accepted"]
    assert Room.load(RoomId(mirror.room_id)).head.unsettled is not None
    assert believer.sync() == {}
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda number: send(alice, mirror.room_id, str(number)), range(3)))
    head = Room.load(RoomId(mirror.room_id)).head
    assert (head.joined, head.unsettled) == (41, None)
    assert len(current_state(mirror.room_id)) > 40
    believer.sync()
    assert believer.state == current_state(mirror.room_id)
