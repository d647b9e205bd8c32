"""The state of a joined room that a sliding sync tells: at first all that is wanted, later what changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.sliding import required_state
from murmuration.protocol.sliding.required_state import Required
from murmuration.rooms.reading import past_state
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import RoomPosition, mark
from murmuration.sync import timeline
from murmuration.sync.timeline import MEMBER, Window

FEW = 8
"""So many pairs of a type and a state key are read one by one, rather than all of a room's state."""


@dataclass(frozen=True, slots=True)
class Change:
    """What changed of a room's state since the client was told of it; `state` is None where all is new."""

    state: Mapping[StateKey, Event] | None

    @property
    def is_all(self) -> bool:
        return self.state is None

    def concerns(self, pair: StateKey) -> bool:
        return self.state is None or pair in self.state

    @property
    def has_members(self) -> bool:
        """Whether somebody's membership may have changed."""
        return self.state is None or any(event_type == MEMBER for event_type, _ in self.state)


def changes_since(room: Room, position: RoomPosition, window: Window) -> Change:
    """What changed of the state since a position, by the log's newest events if these are all there are."""
    new = [entry for entry in window.passed if entry.ordinal > position.ordinal]
    if window.start > position.ordinal + 1 or any(entry.resolved for entry in new):
        return Change(timeline.state_delta(room, position.ordinal, room.head.state_root))
    return Change({pair: entry.event for entry in new if (pair := entry.event.state_pair) is not None})


def members_needed(window: Window) -> set[str]:
    """Whose member events a client needs for what it is shown: senders, and those whose membership it is."""
    events = [entry.event for entry in window.entries]
    targets = {event.state_key or "" for event in events if event.type == MEMBER and event.is_state}
    return {event.sender for event in events} | targets


def wanted_state(
    room: Room,
    required: Required,
    change: Change,
    needed: Collection[str],
    *,
    known: Required = (),
    is_whole: bool,
) -> dict[StateKey, Event]:
    """The state events to tell.

    Of new state what is `required`; of all members' changes those that `is_whole`, as nothing in between is
    left out; of the state from before what is required now and wasn't `known` to be. `needed` are the users
    whose member events the client lacks.
    """
    if change.state is None:
        return _read(room, required, needed)
    lazy = required_state.is_lazy(required)
    found = {
        pair: event
        for pair, event in change.state.items()
        if required_state.admits(required, pair) or (lazy and is_whole and pair[0] == MEMBER)
    }
    if not required_state.covers(known, required):
        state = _read(room, required, ())
        found = {
            pair: event for pair, event in state.items() if not required_state.admits(known, pair)
        } | found
    if lacking := [user_id for user_id in needed if (MEMBER, user_id) not in found]:
        found |= _at_head(room, [(MEMBER, user_id) for user_id in lacking])
    return found


def _read(room: Room, required: Required, needed: Collection[str]) -> dict[StateKey, Event]:
    """The state that is required, and these users' member events; as it was at the room's head."""
    exact: set[StateKey] | None = set()
    for each in required:
        pairs = each.exact
        exact = None if pairs is None or exact is None else exact | pairs
    if exact is not None and len(exact) <= FEW:
        state = _at_head(room, [*exact, *((MEMBER, user_id) for user_id in needed)])
    else:
        members = required_state.members_of(required)
        wanted = None if members is None else {*members, *needed}
        state = past_state.full_state(room, room.head.state_root, room.head.ordinal + 1, members=wanted)
    return {
        pair: event
        for pair, event in state.items()
        if required_state.admits(required, pair) or (pair[0] == MEMBER and pair[1] in needed)
    }


def _at_head(room: Room, pairs: Iterable[StateKey]) -> dict[StateKey, Event]:
    entries = room.entries(pairs).values()
    return past_state.state_at(room, room.head.state_root, room.head.ordinal + 1, entries)


def lacking(needed: Collection[str], position: RoomPosition | None) -> set[str]:
    """Those among the users whose member events the client wasn't sent."""
    known = set(position.members) if position is not None else set()
    return {user_id for user_id in needed if mark(user_id) not in known}
