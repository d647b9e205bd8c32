"""What a purge of history reads and writes: which rooms there are, how far it has come, what it leaves of
events.

In the table `rooms` each room has an item `retention`: the ordinal up to which everything is purged. A purge
that had no time for all rooms goes on with the room that the item `place` of the partition `retention` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Write
from murmuration.aws.reads import Read, fetch
from murmuration.protocol.events import Event
from murmuration.storage.rooms.room_heads import HEAD, ROOMS, RoomHead, head_among, head_key
from murmuration.storage.rooms.room_items import LogEntry, log_write

if TYPE_CHECKING:
    from murmuration.protocol.pdus.shapes import Pdu

PURGED = "retention"
_PLACE: Mapping[str, str] = {"room_id": "retention", "sk": "place"}
"""`retention` is no room's ID, since they begin with `!`."""
_KEPT_FIELDS = ("depth", "origin_server_ts", "prev_events", "room_id", "sender", "type")


def read_heads(after: str | None) -> tuple[list[RoomHead], str | None]:
    """Return rooms behind the place `after` in no order of note, and the place behind them; None at the end.

    One request. It goes through the items of all rooms, so it is for work that is done seldom.
    """
    options: dict[str, Any] = {"ExclusiveStartKey": dynamodb.to_attributes(head_key(after))} if after else {}
    page = dynamodb.scan_page(
        ROOMS,
        FilterExpression="sk = :head",
        ExpressionAttributeValues=dynamodb.to_attributes({":head": HEAD}),
        **options,
    )
    heads = [head for item in page.items if (head := head_among([item])) is not None]
    return heads, page.more["room_id"] if page.more else None


def read_place() -> str | None:
    """Return the place where the purge goes on; None for the beginning."""
    return fetch(Read(ROOMS, _PLACE, lambda item: item["after"] if item else None))


def write_place(after: str | None) -> None:
    """Note where the purge goes on."""
    if after is None:
        dynamodb.execute(dynamodb.delete(ROOMS, _PLACE))
    else:
        dynamodb.execute(dynamodb.put(ROOMS, {**_PLACE, "after": after}))


def purged_read(room_id: str) -> Read[int | None]:
    """Read up to which ordinal nothing of a room is left to purge; None where no purge was."""
    return Read(ROOMS, _purged_key(room_id), lambda item: item["ordinal"] if item else None)


def write_purged(room_id: str, ordinal: int) -> None:
    """Note up to which ordinal nothing of a room is left to purge."""
    dynamodb.execute(dynamodb.put(ROOMS, {**_purged_key(room_id), "ordinal": ordinal}))


def _purged_key(room_id: str) -> dict[str, str]:
    return {"room_id": room_id, "sk": PURGED}


def purge_write(entry: LogEntry) -> Write:
    """Keep only the place of an event: no content, no relations, nothing that a client is shown.

    Its ID, its place in the graph and the state before it stay. So what follows it still stands, and nobody
    sends it to this server again. Fails if the event is purged already, or gone.
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
