"""The state of a room after one of its events, read from what is current and the snapshots."""

from __future__ import annotations

from collections.abc import Iterable

from murmuration.protocol import state_trie
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms.room import Room
from murmuration.storage import room_items, snapshots
from murmuration.storage.room_items import LogEntry, StateEntry


def state_after(
    room: Room, entry: LogEntry | None, event_type: str | None = None, *, members: Iterable[str] | None = None
) -> dict[StateKey, Event]:
    """The whole state after `entry` (None: the current one), or that of one type.

    With `members`, of the membership events only those of these users. Reads the current state, and the
    snapshot of the time only for what has changed since.
    """
    if members is None:
        current = room_items.read_state_of_type(room.room_id, room.version, event_type)
    else:
        current = room_items.read_state_but_members(room.room_id, room.version)
        current += room.entries([("m.room.member", user_id) for user_id in members]).values()
    return _rewind(room, entry, current)


def pick_state_after(room: Room, entry: LogEntry | None, pairs: Iterable[StateKey]) -> dict[StateKey, Event]:
    """The state events after `entry` (None: the current ones) with these (type, state key) pairs."""
    return _rewind(room, entry, room.entries(pairs).values())


def _rewind(room: Room, entry: LogEntry | None, current: Iterable[StateEntry]) -> dict[StateKey, Event]:
    """What the pairs of current state were after `entry`: state that is older than it is the same still."""
    state: dict[StateKey, Event] = {}
    changed: list[StateKey] = []
    for each in current:
        pair = (each.event.type, each.event.state_key or "")
        if entry is None or (each.ordinal is not None and each.ordinal <= entry.ordinal):
            state[pair] = each.event
        elif pair == entry.event.state_pair and not entry.resolved:
            state[pair] = entry.event
        else:
            changed.append(pair)
    if changed and entry is not None and (root := _root(room, entry)) != state_trie.EMPTY:
        earlier = state_trie.get(root, changed, snapshots.fetch_from(room.room_id))
        events = room_items.read_events(list(earlier.values()), room.version)
        state |= {pair: events[event_id] for pair, event_id in earlier.items() if event_id in events}
    return state


def _root(room: Room, entry: LogEntry) -> NodeId:
    """A snapshot that has the state after `entry`, but for the entry's own where that has become state."""
    if not entry.resolved:
        return entry.current_root
    after = entry.ordinal
    following = room_items.read_log(room.room_id, room.version, after=after, before=after + 2)
    return following[0].current_root if following else room.head.state_root
