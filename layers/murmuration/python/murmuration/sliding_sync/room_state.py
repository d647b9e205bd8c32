"""The state of a joined room in a sliding sync: at first everything that is required, later only changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.sliding import required_state
from murmuration.protocol.sliding.required_state import Required
from murmuration.rooms.reading import past_state
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import RoomPosition, mark
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import StateEntry
from murmuration.sync import timeline
from murmuration.sync.timeline import Window

FEW = 8
"""Up to this many (type, state key) pairs are read one by one; beyond it, all of a room's state is read."""


@dataclass(frozen=True, slots=True)
class Change:
    """The changes of a room's state since the client's last answer.

    `state` is None if everything is new. `gone` are the pairs that the state no longer has.
    """

    state: Mapping[StateKey, Event] | None
    gone: frozenset[StateKey] = frozenset()

    @property
    def is_all(self) -> bool:
        return self.state is None

    def concerns(self, pair: StateKey) -> bool:
        return self.state is None or pair in self.state or pair in self.gone

    @property
    def has_members(self) -> bool:
        """Whether a membership may have changed."""
        return self.state is None or any(event_type == MEMBER for event_type, _ in (*self.state, *self.gone))


def changes_since(room: Room, position: RoomPosition, window: Window) -> Change:
    """Return the changes of the state since a position: from the log's newest events if these are
    complete.
    """
    new = [entry for entry in window.passed if entry.ordinal > position.ordinal]
    if window.start > position.ordinal + 1 or any(entry.resolved for entry in new):
        return Change(*timeline.state_changes(room, position.ordinal, room.head.state_root))
    return Change({pair: entry.event for entry in new if (pair := entry.event.state_pair) is not None})


def members_needed(window: Window) -> set[str]:
    """Return the users whose member events a client needs: senders, and the targets of member events."""
    events = [entry.event for entry in window.entries]
    targets = {event.member_id for event in events if event.type == MEMBER and event.is_state}
    return {event.sender for event in events} | targets


def wants_few(required: Required) -> bool:
    """Return whether `required` names at most FEW state events, each by its exact type and state key.

    Lazily loaded members don't count.
    """
    pairs = _exact(required)
    return pairs is not None and len(pairs) <= FEW


def wanted_state(
    room: Room,
    required: Required,
    change: Change,
    needed: Collection[str],
    *,
    known: Required = (),
    current: Sequence[StateEntry] | None = None,
    is_whole: bool,
) -> dict[StateKey, Event]:
    """Return the state events to show.

    They are changed state that is `required`; if the timeline `is_whole`, all changed member events, because
    no events were left out; and older state that is required now but wasn't in `known`. `needed` are the
    users whose member events the client lacks. `current` is the room's state without members, if it was read.
    """
    if change.state is None:
        return _read(room, required, needed, current)
    lazy = required_state.is_lazy(required)
    found = {
        pair: event
        for pair, event in change.state.items()
        if required_state.admits(required, pair) or (lazy and is_whole and pair[0] == MEMBER)
    }
    if not required_state.covers(known, required):
        state = _read(room, required, (), current)
        found = {
            pair: event for pair, event in state.items() if not required_state.admits(known, pair)
        } | found
    found |= {pair: event for pair, event in change.state.items() if pair[0] == MEMBER and pair[1] in needed}
    if lacking := [user_id for user_id in sorted(needed) if (MEMBER, user_id) not in found]:
        found |= _at_head(room, [(MEMBER, user_id) for user_id in lacking])
    return found


def stubs(required: Required, change: Change) -> list[dict[str, str]]:
    """Return the entries with which the accepted form shows that required state was removed."""
    lazy = required_state.is_lazy(required)
    return [
        {"type": event_type, "state_key": state_key}
        for event_type, state_key in sorted(change.gone)
        if required_state.admits(required, (event_type, state_key)) or (lazy and event_type == MEMBER)
    ]


def _exact(required: Required) -> set[StateKey] | None:
    """Return the required pairs of a type and a state key; None if anything else is required."""
    found: set[StateKey] = set()
    for each in required:
        pairs = each.exact
        if pairs is None:
            return None
        found |= pairs
    return found


def _read(
    room: Room, required: Required, needed: Collection[str], current: Sequence[StateEntry] | None = None
) -> dict[StateKey, Event]:
    """Return the required state and these users' member events as of the room's head."""
    exact, members = _exact(required), required_state.members_of(required)
    root, before = room.head.state_root, room.head.ordinal + 1
    if exact is not None and len(exact) <= FEW:
        state = _at_head(room, [*sorted(exact), *((MEMBER, user_id) for user_id in sorted(needed))])
    elif members is None or current is None:
        wanted = None if members is None else sorted({*members, *needed})
        state = past_state.full_state(room, root, before, members=wanted)
    else:
        pairs = [(MEMBER, user_id) for user_id in sorted({*members, *needed})]
        state = past_state.state_at(room, root, before, [*current, *room.entries(pairs).values()])
    return {
        pair: event
        for pair, event in state.items()
        if required_state.admits(required, pair) or (pair[0] == MEMBER and pair[1] in needed)
    }


def read_current(room: Room, pairs: Iterable[StateKey]) -> list[StateEntry]:
    """Return a room's state without members. Afterwards the room has cached which of these `pairs` exist."""
    entries = room_items.read_state_but_members(room.room_id, room.version)
    found = {pair: entry for entry in entries if (pair := entry.event.state_pair) is not None}
    room.remember({pair: found.get(pair) for pair in pairs})
    return entries


def _at_head(room: Room, pairs: Iterable[StateKey]) -> dict[StateKey, Event]:
    entries = room.entries(pairs).values()
    return past_state.state_at(room, room.head.state_root, room.head.ordinal + 1, entries)


def marks_after(change: Change, position: RoomPosition | None) -> tuple[str, ...]:
    """Return the marks of the members whose current events the client has, from what it was sent."""
    known = position.members if position is not None else ()
    pairs = (*(change.state or ()), *change.gone)
    changed = {mark(user_id) for event_type, user_id in pairs if event_type == MEMBER}
    return tuple(each for each in known if each not in changed)


def lacking(needed: Collection[str], marks: Collection[str]) -> set[str]:
    """Return the users whose member events the client lacks, given the marks of those that it has."""
    known = set(marks)
    return {user_id for user_id in needed if mark(user_id) not in known}
