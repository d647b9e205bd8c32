"""What a resolution reads: as little of a large state as decides it, in few round trips."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.protocol.state_resolution import resolve, resolve_conflicted
from tests.protocol.dag import (
    ALICE,
    ALL_VERSIONS,
    BOB,
    CAROL,
    EVE,
    Room,
    join_rules,
    make_event,
    member,
    message,
    power_levels,
    topic,
)

MEMBERS = 10_000
FROM_2 = ALL_VERSIONS[1:]
TOPIC = ("m.room.topic", "")
POWER_LEVELS = ("m.room.power_levels", "")


class Watched:
    """Unconflicted state that notes what it is asked for."""

    def __init__(self, entries: Mapping[StateKey, EventId]) -> None:
        self.entries = entries
        self.asked: list[Collection[StateKey]] = []
        self.read_whole = 0

    def get(self, keys: Collection[StateKey]) -> dict[StateKey, EventId]:
        self.asked.append(keys)
        return {key: self.entries[key] for key in keys if key in self.entries}

    def event_ids(self) -> Collection[EventId]:
        self.read_whole += 1
        return self.entries.values()


def crowded_room(version: str) -> Room:
    """Return a room with alice, bob (invited by her), carol and 10,000 others, without forks."""
    room = Room(version)
    users = {BOB: 50} if room.version.privileged_creators else {ALICE: 100, BOB: 50}
    room.send("powers", ALICE, power_levels(users))
    room.send("public", ALICE, join_rules("public"))
    room.send("bob-invited", ALICE, member(BOB, "invite"))
    room.send("bob", BOB, member(BOB, "join"))
    room.send("carol", CAROL, member(CAROL, "join"))
    state = dict(room.state_after["carol"])
    auth = ["powers", "public"] if room.version.create_event_is_room_id else ["create", "powers", "public"]
    for number in range(MEMBERS):
        user_id = UserId(f"@u{number}:other.example")
        event = make_event(room.version, f"u{number}", user_id, member(user_id, "join"), auth=auth, depth=9)
        room.events[event.event_id] = event
        state["m.room.member", user_id] = event.event_id
    room.state_after["carol"] = state
    return room


def split(
    states: list[dict[StateKey, EventId]],
) -> tuple[dict[StateKey, tuple[EventId | None, ...]], Watched]:
    keys = {key for state in states for key in state}
    entries = {key: tuple(state.get(key) for state in states) for key in keys}
    conflicts = {key: ids for key, ids in entries.items() if len(set(ids)) > 1}
    return conflicts, Watched({key: it for key, it in states[0].items() if key not in conflicts})


def forks(version: str) -> dict[str, tuple[Room, list[str]]]:
    room = crowded_room(version)
    room.send("alices", ALICE, topic("a"), after="carol")
    room.send("bobs", BOB, topic("b"), after="carol")
    room.send("eve-invited", BOB, member(EVE, "invite"), after="carol")
    room.send("eve", EVE, member(EVE, "join"))
    room.send("carol-gone", CAROL, member(CAROL, "leave"), after="carol")
    room.send("ban", ALICE, member(BOB, "ban"), after="carol")
    return {
        "two topics": (room, ["alices", "bobs"]),
        "a join by invite and nothing": (room, ["carol", "eve"]),
        "a join by invite and a leave": (room, ["eve", "carol-gone"]),
        "a ban and a topic": (room, ["ban", "bobs"]),
    }


@pytest.mark.parametrize("version", ["1", "11", "12"])
def test_a_fork_of_a_large_room_touches_only_what_differs_and_what_authorises_it(version):
    for name, (room, tips) in forks(version).items():
        conflicts, unconflicted = split(room.states_after(*tips))
        room.fetched.clear()
        resolved = resolve_conflicted(room.version, conflicts, unconflicted, room.fetch)
        looked_up = [key for keys in unconflicted.asked for key in keys]
        fetched = [event_id for event_ids in room.fetched for event_id in event_ids]
        assert unconflicted.read_whole == 0, name
        assert len(looked_up) == len(set(looked_up)) <= 8, name
        assert len(fetched) == len(set(fetched)) <= 12, name
        assert len(room.fetched) <= 4, name
        whole = resolve(room.version, room.states_after(*tips), room.fetch)
        assert {**unconflicted.entries, **resolved} == whole, name


@pytest.mark.parametrize("version", ["11", "12"])
def test_two_halves_of_a_room_that_both_took_in_guests_do_not_read_the_whole_of_it(version):
    """Each guest's invite may be in the auth chain of anyone in the room, but this doesn't change the
    result.
    """
    room = crowded_room(version)
    for half in ("left", "right"):
        room.send(half, BOB, message(), after="carol")
        for number in range(12):
            guest = UserId(f"@{half}{number}:other.example")
            room.send(f"{half}-invite{number}", BOB, member(guest, "invite"))
            room.send(f"{half}{number}", guest, member(guest, "join"))
    conflicts, unconflicted = split(room.states_after("left11", "right11"))
    room.fetched.clear()
    resolved = resolve_conflicted(room.version, conflicts, unconflicted, room.fetch)
    assert len(resolved) == 24
    assert unconflicted.read_whole == 0
    assert len(room.fetched) <= 4


def test_the_whole_state_is_read_only_if_the_outcome_hangs_on_it():
    """Whether `second` counts depends on whether a member of the room joined while it was in force."""
    room = Room(RoomId("11"))
    room.send("powers", ALICE, power_levels({ALICE: 100, BOB: 50}))
    room.send("public", ALICE, join_rules("public"))
    room.send("bob", BOB, member(BOB, "join"))
    room.send("second", ALICE, power_levels({ALICE: 100, BOB: 90}))
    room.send("carol", CAROL, member(CAROL, "join"))
    room.send("third", BOB, power_levels({ALICE: 100, BOB: 90, CAROL: 90}))
    current = room.state_after["third"]
    claimed = {**current, POWER_LEVELS: room["powers"].event_id}
    conflicts, unconflicted = split([current, claimed])
    resolved = resolve_conflicted(room.version, conflicts, unconflicted, room.fetch)
    assert resolved == {POWER_LEVELS: room["powers"].event_id}
    assert unconflicted.read_whole == 1
    del current[("m.room.member", CAROL)], claimed[("m.room.member", CAROL)]
    conflicts, unconflicted = split([current, claimed])
    resolved = resolve_conflicted(room.version, conflicts, unconflicted, room.fetch)
    assert resolved == {POWER_LEVELS: room["third"].event_id}


@pytest.mark.parametrize("version", ["2", "12"])
def test_an_auth_chain_of_any_length_is_walked_a_layer_at_a_time(version):
    """2,000 power levels, each based on the one before, are more than Python's recursion limit."""
    room = Room(version)
    users = {BOB: 50} if room.version.privileged_creators else {ALICE: 100, BOB: 50}
    room.send("first", ALICE, power_levels(users))
    room.send("public", ALICE, join_rules("public"))
    room.send("bob", BOB, member(BOB, "join"))
    room.send("bobs", BOB, topic("b"), after="bob")
    last = "bob"
    for number in range(2_000):
        room.send(f"p{number}", ALICE, power_levels(users, ban=50 + number % 2), after=last)
        last = f"p{number}"
    room.send("alices", ALICE, topic("a"), after=last)
    room.fetched.clear()
    resolved = room.resolved("alices", "bobs")
    assert resolved[POWER_LEVELS] == last
    assert resolved[TOPIC] == "alices"
    assert len(room.fetched) < 2_010
    near = room.resolved("alices", last)
    assert near[TOPIC] == "alices"


@pytest.mark.parametrize("version", ["2", "12"])
def test_a_fork_at_the_end_of_a_long_history_does_not_walk_it(version):
    room = Room(version)
    users = {BOB: 50} if room.version.privileged_creators else {ALICE: 100, BOB: 50}
    room.send("first", ALICE, power_levels(users))
    room.send("public", ALICE, join_rules("public"))
    room.send("bob", BOB, member(BOB, "join"))
    for number in range(200):
        room.send(f"p{number}", ALICE, power_levels(users, ban=50 + number % 2))
        room.send(f"n{number}", ALICE, member(ALICE, "join", displayname=f"{number}"))
    room.send("alices", ALICE, topic("a"), after="n199")
    room.send("bobs", BOB, topic("b"), after="n199")
    room.fetched.clear()
    assert room.resolved("alices", "bobs")[TOPIC] == "bobs"
    assert len(room.fetched) <= 3


def test_what_a_fetch_returns_beyond_what_was_asked_is_not_asked_for_again():
    room = crowded_room("12")
    room.send("alices", ALICE, topic("a"), after="carol")
    room.send("bobs", BOB, topic("b"), after="carol")
    asked: list[Collection[EventId]] = []

    def fetch(event_ids: Collection[EventId]) -> Mapping[EventId, Event]:
        asked.append(event_ids)
        return room.events

    conflicts, unconflicted = split(room.states_after("alices", "bobs"))
    resolve_conflicted(room.version, conflicts, unconflicted, fetch)
    assert len(asked) == 1


@pytest.mark.parametrize("version", FROM_2)
def test_events_that_nobody_has_count_for_nothing(version):
    room = Room(version)
    room.send("one", ALICE, topic("1"), after="alice")
    room.send("two", ALICE, topic("2"), after="alice")
    states = room.states_after("one", "two")
    lost = room.events.pop(room["two"].event_id)
    assert room.version is lost.room_version
    assert resolve(room.version, states, room.fetch)[TOPIC] == room["one"].event_id
