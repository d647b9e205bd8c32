"""Bounded counts, such as a user's filters: a number that is raised in the transaction that adds the thing.

So a bound holds for concurrent additions too. Things from before there was a count aren't counted: a count
begins at 0, which only allows that many more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Key, Write

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

COUNT = "count"
"""The name of the write that counts."""
SK = "counts"
"""The sort key of the item that has the counts, in tables with one."""


def count_write(table: str, key: Key, kind: str, most: int, *, room_id: RoomId | None = None) -> Write:
    """Return a write that counts one more thing in the item with `key`; refused if there are `most` already.

    An item that is deleted with a room has the room's ID.
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
    """Return a write that counts one thing less."""
    return dynamodb.update(table, key, "ADD #kind :one", names={"#kind": kind}, values={":one": -1})
