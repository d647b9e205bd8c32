"""The reads and writes of a purge of history.

In the table `rooms` each room has an item `retention`: the ordinal up to which everything is purged, and the
oldest ordinal that there was then. If a purge had no time for all rooms, the item `place` of the partition
`retention` names the room to continue with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from murmuration.aws import dynamodb
from murmuration.aws.attributes import to_attributes
from murmuration.aws.dynamodb import Item, Write
from murmuration.aws.reads import Read, fetch
from murmuration.protocol.events import Event
from murmuration.storage.rooms.room_heads import HEAD, ROOMS, RoomHead, head_among, head_key
from murmuration.storage.rooms.room_items import LogEntry, log_write

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId
    from murmuration.protocol.pdus.shapes import Pdu

PURGED = "retention"
_PLACE: Mapping[str, str] = {"room_id": "retention", "sk": "place"}
"""`retention` can't be a room ID, because those begin with `!`."""
_KEPT_FIELDS = ("depth", "origin_server_ts", "prev_events", "room_id", "sender", "type")


def read_heads(after: RoomId | None) -> tuple[list[RoomHead], RoomId | None]:
    """Return the heads of some rooms after the position `after`, and the position after them; None at the
    end.

    This is one request. It reads through the items of all rooms, so use it rarely.
    """
    page = dynamodb.scan_page(
        ROOMS,
        after=head_key(after) if after else None,
        FilterExpression="sk = :head",
        ExpressionAttributeValues=to_attributes({":head": HEAD}),
    )
    heads = [head for item in page.items if (head := head_among([item])) is not None]
    return heads, page.more["room_id"] if page.more else None


def read_place() -> RoomId | None:
    """Return the room with which to continue a purge; None for the first one."""
    return fetch(Read(ROOMS, _PLACE, lambda item: item["after"] if item else None))


def write_place(after: RoomId | None) -> None:
    """Store the room with which to continue a purge."""
    if after is None:
        dynamodb.execute(dynamodb.delete(ROOMS, _PLACE))
    else:
        dynamodb.execute(dynamodb.put(ROOMS, {**_PLACE, "after": after}))


@dataclass(frozen=True, slots=True)
class Purged:
    """How far a room is purged: up to an ordinal, from the oldest event that the log had then.

    `oldest` is None in an item of before it was stored.
    """

    ordinal: int
    oldest: int | None = None


def purged_read(room_id: RoomId) -> Read[Purged | None]:
    """Return the read of how far a room is purged; its value is None if it never was."""

    def parse(item: Item | None) -> Purged | None:
        return Purged(item["ordinal"], item.get("oldest")) if item else None

    return Read(ROOMS, _purged_key(room_id), parse)


def write_purged(room_id: RoomId, purged: Purged) -> None:
    """Store how far a room is purged."""
    place = {"ordinal": purged.ordinal, "oldest": purged.oldest}
    dynamodb.execute(dynamodb.put(ROOMS, {**_purged_key(room_id), **place}))


def _purged_key(room_id: RoomId) -> dict[str, str]:
    return {"room_id": room_id, "sk": PURGED}


def purge_write(entry: LogEntry) -> Write:
    """Return the write that removes everything of an event except its place: no content, no relations.

    Its ID, its place in the graph and the state before it are kept, so later events remain valid and no
    server sends it again. The write is refused if the event is purged already, or gone.
    """
    event_id, version = entry.event.event_id, entry.event.room_version
    kept = {name: value for name, value in entry.event.pdu.items() if name in _KEPT_FIELDS}
    left = LogEntry(
        entry.ordinal,
        Event(cast("Pdu", {**kept, "auth_events": [], "content": {}}), version, event_id),
        entry.state_root,
        entry.visibility,
        room_root=entry.room_root,
        after_gap=entry.after_gap,
        filled_below=entry.filled_below,
        resolved=entry.resolved,
        withheld=True,
        purged=True,
    )
    return log_write(
        left, condition="event_id = :id AND attribute_not_exists(purged)", values={":id": event_id}
    )
