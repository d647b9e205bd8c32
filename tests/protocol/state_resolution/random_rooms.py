"""Random rooms: forks and merges of all that changes who may do what, with clocks that can't be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from murmuration.protocol.auth_rules import AuthRuleViolation
from murmuration.protocol.events import StateKey
from tests.protocol.dag import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    Piece,
    Room,
    join_rules,
    member,
    power_levels,
    topic,
)

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, UserId

USERS = (ALICE, BOB, CAROL, DAVE)
RULES = ("public", "invite", "knock")
# Versions whose rules or algorithm differ in what such rooms do.
VERSIONS = ("1", "2", "6", "7", "11", "12")


@dataclass(frozen=True)
class Step:
    """One attempt to send an event; whatever the rules don't allow is left out, or sent as rejected."""

    actor: int
    kind: int
    target: int
    level: int
    parents: tuple[int, ...]
    clock: int
    rank: int
    reject: bool


STEPS = st.builds(
    Step,
    actor=st.integers(0, 3),
    kind=st.integers(0, 11),
    target=st.integers(0, 3),
    level=st.sampled_from((0, 50, 50, 100)),
    # How far back from the newest event each parent is: mostly not far, so that branches grow.
    parents=st.lists(st.integers(0, 6), min_size=1, max_size=3).map(tuple),
    clock=st.integers(0, 4),
    rank=st.integers(0, 9),
    reject=st.booleans(),
)


def levels(room: Room, users: dict[UserId, int]) -> dict[UserId, int]:
    """Return the users that may be listed: from version 12 on, not the creator."""
    return {
        user: it for user, it in users.items() if not (room.version.privileged_creators and user == ALICE)
    }


def piece(room: Room, step: Step) -> Piece:
    actor, target = USERS[step.actor], USERS[step.target]
    match step.kind:
        case 0 | 1 | 2:
            return member(actor, "join", n=step.rank)
        case 3:
            return member(target, "invite")
        case 4:
            return member(target, "ban")
        case 5:
            return member(target, "leave")
        case 6 | 7:
            return join_rules(RULES[step.target % 3])
        case 8 | 9:
            return power_levels(levels(room, {ALICE: 100, BOB: 50, target: step.level}))
        case _:
            return topic(f"{step.rank}")


def draw_room(version: str, steps: list[Step]) -> Room:
    """Return the room that the steps make. The names of events are random, so that the order of IDs says
    nothing.
    """
    room = Room(version)
    room.send("rules", ALICE, join_rules("public"))
    room.send("powers", ALICE, power_levels(levels(room, {ALICE: 100, BOB: 50})))
    room.send("bob", BOB, member(BOB, "join"))
    room.send("carol", CAROL, member(CAROL, "join"))
    names = list(room.state_after)
    for number, step in enumerate(steps):
        parents = sorted({names[max(1, len(names) - 1 - back)] for back in step.parents})
        name = f"{step.rank}-{number}"
        drawn = piece(room, step)
        try:
            room.send(name, USERS[step.actor], drawn, after=parents, ts=step.clock)
        except AuthRuleViolation:
            if not step.reject:
                continue
            room.send(name, USERS[step.actor], drawn, after=parents, ts=step.clock, rejected=True)
        names.append(name)
    return room


@st.composite
def conflicts(
    draw: st.DrawFn, versions: Sequence[str] = VERSIONS
) -> tuple[Room, list[dict[StateKey, EventId]]]:
    """Return a room, and the states after some of its events."""
    room = draw_room(draw(st.sampled_from(versions)), draw(st.lists(STEPS, min_size=6, max_size=24)))
    names = list(room.state_after)
    chosen = draw(st.lists(st.sampled_from(names[1:]), min_size=2, max_size=4))
    return room, room.states_after(*chosen)


@st.composite
def impossible_conflicts(draw: st.DrawFn) -> tuple[Room, list[dict[StateKey, EventId]]]:
    """Return a room, and state sets that no order of its events leads to, as another server might
    claim them.
    """
    room, drawn = draw(conflicts())
    state_sets = [dict(state) for state in drawn]
    events = [event for event in room.events.values() if event.is_state and event.type != "m.room.create"]
    swaps = draw(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(events), st.booleans()), max_size=6))
    for which, event, keep in swaps:
        state = state_sets[which % len(state_sets)]
        key = (event.type, event.state_key or "")
        if keep:
            state[key] = event.event_id
        else:
            state.pop(key, None)
    return room, state_sets
