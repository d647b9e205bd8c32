"""Rooms that have no local user any more, and the tombstones of those being deleted.

In the table `rooms` the partition `empty` has a mark for each room that everybody left. A user who comes back
doesn't remove the mark; the room's head tells whether the room is empty. When everybody has left again, the
mark is renewed. A room that is being deleted has a tombstone instead of its head, without an ordinal. So
nobody finds the room, and no new room gets its ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, Write
from murmuration.storage.rooms.room_items import ROOMS, head_key

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

_EMPTY = "empty"
"""The partition key. It can't be a room ID, because those begin with `!`."""
_NOBODY = (
    "((local_joined = :none AND local_invited = :none)"
    " OR (attribute_not_exists(local_joined) AND joined = :none AND invited = :none))"
)
"""The condition that no local user is in the room or invited (values: :none)."""


@dataclass(frozen=True, slots=True)
class EmptyRoom:
    """A marked room: since when it has been empty, and when it was buried, if it was (milliseconds)."""

    room_id: RoomId
    since_ms: int
    buried_ms: int | None = None


def _mark_key(room_id: RoomId) -> dict[str, str]:
    return {"room_id": _EMPTY, "sk": room_id}


def mark_write(room_id: RoomId, since_ms: int) -> Write:
    """Return the write that marks a room as empty, for the transaction that makes it empty."""
    return dynamodb.put(ROOMS, {**_mark_key(room_id), "since_ms": since_ms})


def read_all() -> list[EmptyRoom]:
    """Return the marked rooms, by their IDs."""
    items = dynamodb.query(ROOMS, "room_id = :empty", {":empty": _EMPTY})
    return [EmptyRoom(item["sk"], item["since_ms"], item.get("buried_ms")) for item in items]


HEAD, MARK = "head", "mark"
"""The names of the writes of `bury`."""


def bury(room: EmptyRoom, now: int) -> None:
    """Replace the head with the tombstone, and record that in the mark.

    Raises ConditionFailed with the name HEAD if a local user is in the room or invited, or with MARK if the
    room was marked again or buried already.
    """
    tombstone: Item = {**head_key(room.room_id), "buried_ms": now}
    head = dynamodb.put(
        ROOMS,
        tombstone,
        condition=f"attribute_exists(#ordinal) AND {_NOBODY}",
        values={":none": 0},
        names={"#ordinal": "ordinal"},
    )
    mark = dynamodb.update(
        ROOMS,
        _mark_key(room.room_id),
        "SET buried_ms = :now",
        values={":now": now, ":since": room.since_ms},
        condition="since_ms = :since AND attribute_not_exists(buried_ms)",
    )
    dynamodb.transact([head.named(HEAD), mark.named(MARK)])


def unmark(room: EmptyRoom) -> None:
    """Remove the mark. Raises ConditionFailed if the room was marked again or buried."""
    removal = dynamodb.delete(
        ROOMS,
        _mark_key(room.room_id),
        condition="since_ms = :since AND attribute_not_exists(buried_ms)",
        values={":since": room.since_ms},
    )
    dynamodb.execute(removal)


def forget(room_id: RoomId) -> None:
    """Delete the tombstone and the mark, the last items of a room."""
    condition, names = "attribute_not_exists(#ordinal)", {"#ordinal": "ordinal"}
    head = dynamodb.delete(ROOMS, head_key(room_id), condition=condition, names=names)
    dynamodb.transact([head, dynamodb.delete(ROOMS, _mark_key(room_id))])
