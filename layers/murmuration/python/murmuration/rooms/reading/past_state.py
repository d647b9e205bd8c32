"""The state of a room at an earlier moment, computed from the current state and the snapshots.

A current state event that is older than the moment was in the state then. Snapshots are read only for what
has changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms import current_state
from murmuration.rooms.room import Room
from murmuration.storage.rooms import event_store, room_items, snapshots
from murmuration.storage.rooms.room_items import LogEntry, StateEntry

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId


def state_after(
    room: Room, entry: LogEntry | None, event_type: str | None = None, *, members: Iterable[str] | None = None
) -> dict[StateKey, Event]:
    """Return the whole state after `entry` (None: the current state), or the state of one type.

    With `members`, only these users' membership events are included.
    """
    return _rewind(room, entry, _current(room, event_type, members))


def pick_state_after(room: Room, entry: LogEntry | None, pairs: Iterable[StateKey]) -> dict[StateKey, Event]:
    """Return the state events with these (type, state key) pairs after `entry` (None: the current ones)."""
    return _rewind(room, entry, room.entries(pairs).values())


def full_state(
    room: Room, root: NodeId, before: int, *, members: Iterable[str] | None = None
) -> dict[StateKey, Event]:
    """Return the state of the snapshot `root`, which is the state before the ordinal `before`.

    With `members`, only these users' membership events are included.
    """
    return state_at(room, root, before, _current(room, None, members))


@dataclass(frozen=True, slots=True)
class Past:
    """The state that the pairs of `current` had in the snapshot `root`, before the ordinal `before`."""

    room: Room
    root: NodeId
    before: int
    current: Iterable[StateEntry]


def state_at(room: Room, root: NodeId, before: int, current: Iterable[StateEntry]) -> dict[StateKey, Event]:
    """Return the state events that the pairs of `current` had in the snapshot `root`, before the ordinal
    `before`.
    """
    return states_at([Past(room, root, before, current)])[0]


def states_at(wanted: Sequence[Past]) -> list[dict[StateKey, Event]]:
    """Do `state_at` for several rooms, with as many round trips as for one."""
    kept: list[dict[StateKey, Event]] = []
    changed: list[list[StateKey]] = []
    for past in wanted:
        kept.append({})
        changed.append([])
        for entry in past.current:
            if entry.ordinal is not None and entry.ordinal < past.before:
                kept[-1][_pair(entry)] = entry.event
            else:
                changed[-1].append(_pair(entry))
    queries = [(past.room.room_id, past.root, pairs) for past, pairs in zip(wanted, changed, strict=True)]
    earlier = snapshots.get_of_rooms(queries)
    events = event_store.read_events_of_rooms(
        [
            (past.room.room_id, past.room.version, found.values())
            for past, found in zip(wanted, earlier, strict=True)
        ]
    )
    for state, found, known in zip(kept, earlier, events, strict=True):
        state |= {pair: known[event_id] for pair, event_id in found.items() if event_id in known}
    return kept


def read_state_events(room: Room, event_ids: Mapping[StateKey, EventId]) -> dict[StateKey, Event]:
    """Return the events of a state map, by type and state key."""
    events = event_store.read_events(event_ids.values(), room.version, room.room_id)
    return {pair: events[event_id] for pair, event_id in event_ids.items() if event_id in events}


def _pair(entry: StateEntry) -> StateKey:
    return entry.event.type, entry.event.state_key or ""


def _current(room: Room, event_type: str | None, members: Iterable[str] | None) -> Sequence[StateEntry]:
    if members is None and event_type is None:
        return current_state.read_all(room)
    if members is None and event_type == MEMBER:
        return current_state.read_members(room)
    if members is None:
        return room_items.read_state_of_type(room.room_id, room.version, event_type)
    found = current_state.read_others(room)
    return [*found, *room.entries([(MEMBER, user_id) for user_id in members]).values()]


def _rewind(room: Room, entry: LogEntry | None, current: Iterable[StateEntry]) -> dict[StateKey, Event]:
    """Return the state events that the pairs of current state had after `entry`."""
    if entry is None:
        return {_pair(each): each.event for each in current}
    if entry.is_past:
        # The snapshot decides, because of forks: an older event of the current state may belong to another
        # branch.
        current = [replace(each, ordinal=None) for each in current]
    if entry.resolved:
        return state_at(room, _root_after(room, entry), entry.ordinal + 1, current)
    known = {_pair(each): each for each in current}
    own = entry.event.state_pair
    others = [each for pair, each in known.items() if pair != own]
    state = state_at(room, entry.current_root, entry.ordinal + 1, others)
    if own in known:
        state[own] = entry.event
    return {pair: state[pair] for pair in known if pair in state}


def _root_after(room: Room, entry: LogEntry) -> NodeId:
    """Return the snapshot of the state after an event that changed more than its own entry."""
    following = room_items.read_next(room.room_id, room.version, entry.ordinal)
    return following.current_root if following is not None else room.head.state_root
