"""Threads: which one an event belongs to. https://spec.matrix.org/v1.19/client-server-api/#threading"""

from __future__ import annotations

from murmuration.rooms.room import Room
from murmuration.storage import relations, room_items
from murmuration.storage.room_items import LogEntry

MAIN = "main"
MAX_ID_BYTES = 255
_HOPS = 3


def is_in_thread(room: Room, entry: LogEntry, thread_id: str) -> bool:
    """Whether a receipt for the event may name this thread: `main` or a root's event ID.

    Follows relations for three hops, a read each. A root, and what relates to it otherwise, is in the main
    timeline, but may be marked as read in the root's thread as well, which begins with it.
    """
    ancestors = [entry.event.event_id]
    for hop in range(_HOPS + 1):
        parent = relations.parent_of(entry.event)
        if parent is None:
            break
        parent_id, rel_type = parent
        if rel_type == relations.THREAD:
            return thread_id == parent_id
        ancestors.append(parent_id)
        next_entry = find_entry(room, parent_id) if hop < _HOPS else None
        if next_entry is None:
            break
        entry = next_entry
    return thread_id == MAIN or thread_id in ancestors


def find_entry(room: Room, event_id: str) -> LogEntry | None:
    """The event of the room's log with this ID; None where it has none. Two reads."""
    return find_entries(room, [event_id]).get(event_id)


def find_entries(room: Room, event_ids: list[str]) -> dict[str, LogEntry]:
    """`find_entry` for several events."""
    places = room_items.locate([event_id for event_id in event_ids if fits_id(event_id)])
    keys = [
        (room.room_id, place["ordinal"])
        for place in places.values()
        if place["room_id"] == room.room_id and "ordinal" in place
    ]
    entries = room_items.read_log_entries(keys, {room.room_id: room.version})
    return {entry.event.event_id: entry for entry in entries}


def fits_id(text: str) -> bool:
    """Whether `text` is as long as an ID may be, so that it may be looked for."""
    return 0 < len(text.encode()) <= MAX_ID_BYTES
