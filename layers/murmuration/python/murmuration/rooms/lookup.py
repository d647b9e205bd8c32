"""Finding events of a room by what a client names them."""

from __future__ import annotations

from collections.abc import Sequence

from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import LogEntry

MAX_ID_BYTES = 255


def fits_id(text: str) -> bool:
    """Whether `text` is as long as an identifier, type or state key may be: nothing longer is looked for."""
    return 0 < len(text.encode()) <= MAX_ID_BYTES


def find_entry(room: Room, event_id: str) -> LogEntry | None:
    """The event of the room's log with this ID; None where it has none. Two reads."""
    return find_entries(room, [event_id]).get(event_id)


def find_entries(room: Room, event_ids: Sequence[str]) -> dict[str, LogEntry]:
    """`find_entry` for several events."""
    places = room_items.locate([event_id for event_id in event_ids if fits_id(event_id)], room.room_id)
    keys = [
        (room.room_id, place["ordinal"])
        for place in places.values()
        if place["room_id"] == room.room_id and "ordinal" in place
    ]
    entries = room_items.read_log_entries(keys, {room.room_id: room.version})
    return {entry.event.event_id: entry for entry in entries}
