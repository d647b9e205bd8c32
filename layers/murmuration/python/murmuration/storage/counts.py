"""Bounded counts, such as the number of a user's filters: the transaction that adds a thing also increases
the count.

So a limit applies to concurrent additions too. Things that were added before there was a count aren't
counted: a count begins at 0, which only allows more of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Key, Write

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

COUNT = "count"
"""The name of the write that increases the count."""
SK = "counts"
"""The sort key of the item that has the counts, in tables with one."""


def count_write(table: str, key: Key, kind: str, most: int, *, room_id: RoomId | None = None) -> Write:
    """Return a write that counts one more thing in the item with `key`. It is refused if there are `most`
    already.

    Pass `room_id` if the item is to be deleted together with the room.
    """
    of_room = {":room": room_id} if room_id is not None else {}
    return dynamodb.update(
        table,
        key,
        "SET room_id = :room ADD #kind :one" if of_room else "ADD #kind :one",
        names={"#kind": kind},
        values={":one": 1, ":most": most, **of_room},
        condition="attribute_not_exists(#kind) OR #kind < :most",
    ).named(COUNT)


def uncount_write(table: str, key: Key, kind: str) -> Write:
    """Return a write that decreases the count by one."""
    return dynamodb.update(table, key, "ADD #kind :one", names={"#kind": kind}, values={":one": -1})
