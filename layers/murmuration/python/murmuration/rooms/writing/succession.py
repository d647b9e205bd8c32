"""Finding the state event that replaced another one: its log entry keeps a copy of the old content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.protocol import state_trie
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items, snapshots
from murmuration.storage.rooms.room_items import LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId
    from murmuration.protocol.room_versions import RoomVersion


def successor_of(room: Room, entry: LogEntry) -> LogEntry | None:
    """Return the entry that replaced `entry` in the room's state; None if it is current or isn't a state
    event.

    It does a binary search between the event and the current one: a few reads for each doubling of the
    distance.
    """
    pair, event_id = entry.event.state_pair, entry.event.event_id
    current = room.entries([pair]).get(pair) if pair is not None else None
    if pair is None or current is None or current.ordinal is None or current.event.event_id == event_id:
        return None
    # The state before `low` has the event, the state after `high` doesn't.
    low, high = entry.ordinal + 1, current.ordinal
    newest = _read(room, high)
    if newest is None or _replaces(newest, event_id):
        return newest
    while low < high:
        middle = (low + high + 1) // 2
        found = room_items.read_next(room.room_id, room.version, middle - 1)
        if found is None:
            return None
        before = state_trie.get(found.current_root, [pair], snapshots.fetch_from(room.room_id))
        if before.get(pair) == event_id:
            low = found.ordinal
        else:
            high = middle - 1
    successor = room_items.read_next(room.room_id, room.version, low - 1)
    return successor if successor is not None and _replaces(successor, event_id) else None


def _replaces(entry: LogEntry, event_id: EventId) -> bool:
    return entry.replaced is not None and entry.replaced["event_id"] == event_id


def _read(room: Room, ordinal: int) -> LogEntry | None:
    versions: dict[RoomId, RoomVersion] = {room.room_id: room.version}
    return next(iter(room_items.read_log_entries([(room.room_id, ordinal)], versions)), None)
