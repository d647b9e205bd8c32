"""Finds events of a room by the ID that a client names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.rooms.room import Room
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.rooms.room_items import LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId

MAX_ID_BYTES = 255


def fits_id(text: str) -> bool:
    """Return whether `text` is short enough for an identifier, type or state key.

    Longer texts are never looked up.
    """
    return 0 < len(text.encode()) <= MAX_ID_BYTES


def find_entry(room: Room, event_id: EventId) -> LogEntry | None:
    """Return the entry of the room's log with this event ID; None if there is none. Two reads."""
    return find_entries(room, [event_id]).get(event_id)


def find_entries(room: Room, event_ids: Sequence[EventId]) -> dict[EventId, LogEntry]:
    """Return the entries of the room's log with these event IDs, by ID. Two round trips."""
    ordinals = event_store.read_ordinals([each for each in event_ids if fits_id(each)], room.room_id)
    keys = [(room.room_id, ordinal) for ordinal in ordinals.values()]
    entries = room_items.read_log_entries(keys, {room.room_id: room.version})
    return {entry.event.event_id: entry for entry in entries}
