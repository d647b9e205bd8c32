"""The places of events: items of the table `events`, each with the room of an event and its ordinal in the
log.

For an event outside the log, the item has the event's JSON instead (`storage.rooms.event_store`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, Write
from murmuration.protocol.identifiers import server_name_of
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId
    from murmuration.storage.rooms.room_items import LogEntry

EVENTS = "events"
UNPLACED = "attribute_not_exists(#ordinal) AND attribute_not_exists(state_root)"
"""The condition that an event's place in the room's graph isn't stored yet (names: #ordinal)."""


# -- Keys ------------------------------------------------------------------------------------------------


def place_key(event_id: EventId, room_id: RoomId) -> str:
    """Return the key, in the table `events`, of the item about an event.

    That is the event ID, if no other event can have it: it is a hash, or this server made it. In room
    versions 1 and 2 other servers choose their events' IDs, even one that another room has; then the key
    includes the room.
    """
    server = server_name_of(event_id)
    return f"{event_id} {room_id}" if server is not None and server != settings().server_name else event_id


def place_keys(event_ids: Collection[EventId], room_id: RoomId) -> list[dict[str, str]]:
    """Return the keys, in the table `events`, of a room's events."""
    return [{"event_id": place_key(event_id, room_id)} for event_id in dict.fromkeys(event_ids)]


# -- Writes ----------------------------------------------------------------------------------------------


def pointer_writes(entry: LogEntry, *, promoted: bool = False) -> list[Write]:
    """Return the writes that claim the event's ID for its place in the log.

    The first is refused if the event has its place already. A `promoted` event was soft-failed: its place in
    the graph is known, and the write is refused if it is in the log.
    """
    event_id, room_id = entry.event.event_id, entry.room_id
    item = {"event_id": place_key(event_id, room_id), "room_id": room_id, "ordinal": entry.ordinal}
    if promoted:
        claim = dynamodb.put(EVENTS, item, condition="kind = :kind", values={":kind": "soft_failed"})
    else:
        claim = dynamodb.put(EVENTS, item, condition=UNPLACED, names={"#ordinal": "ordinal"})
    return [claim, *room_note_writes(event_id, room_id)]


def room_note_writes(event_id: EventId, room_id: RoomId) -> list[Write]:
    """Return the write that records the room of an event whose ID is unique only within its room.

    If two rooms have this ID, the later one is recorded. Other events need no write.
    """
    if place_key(event_id, room_id) == event_id:
        return []
    return [dynamodb.put(EVENTS, {"event_id": event_id, "room_id": room_id})]


# -- Reading ---------------------------------------------------------------------------------------------


def locate(event_ids: Collection[EventId], room_id: RoomId) -> dict[EventId, Item]:
    """Return the places of events, by ID: {room_id, ordinal}, or {room_id, kind, json} outside the log.

    If only the ID was looked up, the place may be in another room.
    """
    if not event_ids:
        return {}
    items = dynamodb.batch_get({EVENTS: place_keys(event_ids, room_id)})[EVENTS]
    return places_among(items, event_ids, room_id)


def places_among(
    items: Collection[Item], event_ids: Collection[EventId], room_id: RoomId
) -> dict[EventId, Item]:
    """Return the items at `place_keys`, by event ID."""
    by_key = {item["event_id"]: item for item in items}
    keys = {event_id: place_key(event_id, room_id) for event_id in event_ids}
    return {event_id: by_key[key] for event_id, key in keys.items() if key in by_key}


def read_room_of(event_id: EventId) -> RoomId | None:
    """Return the ID of an event's room; None for an unknown event."""
    items = dynamodb.batch_get({EVENTS: [{"event_id": event_id}]})[EVENTS]
    return items[0]["room_id"] if items else None
