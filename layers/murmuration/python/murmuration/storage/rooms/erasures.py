"""Erased users of each room: the ordinal of the room's log from which on a user is erased there.

Each is an item `erased#<user>` of the room. The room's head counts them: a room without erased users costs no
further read, and while the count is unchanged nothing is read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.cache import LruCache
from murmuration.storage.rooms import room_items

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId

PREFIX = "erased#"
_known: LruCache[tuple[RoomId, int], Mapping[UserId, int]] = LruCache(256)
"""Cached erased users by room and count. Erasing is final, so an entry stays valid."""


def record(room_id: RoomId, user_id: UserId) -> None:
    """Record that a user is erased in a room from now on. Does nothing for a repetition, or an
    unknown room.
    """
    head = room_items.read_head(room_id)
    if head is None:
        return
    item = {"room_id": room_id, "sk": PREFIX + user_id, "ordinal": head.ordinal}
    writes = [
        dynamodb.put(room_items.ROOMS, item, condition="attribute_not_exists(sk)"),
        dynamodb.update(
            room_items.ROOMS,
            room_items.head_key(room_id),
            "ADD erasures :one",
            names={"#ordinal": "ordinal"},
            values={":one": 1},
            condition="attribute_exists(#ordinal)",
        ),
    ]
    try:
        dynamodb.transact(writes)
    except ConditionFailed:
        return


def read(room_id: RoomId, number: int) -> Mapping[UserId, int]:
    """Return the erased users, each with the ordinal at which they were erased.

    `number` is the count in the room's head.
    """
    known = _known.get((room_id, number))
    if known is None:
        items = dynamodb.query(
            room_items.ROOMS,
            "room_id = :room AND begins_with(sk, :prefix)",
            {":room": room_id, ":prefix": PREFIX},
        )
        known = {item["sk"].removeprefix(PREFIX): int(item["ordinal"]) for item in items}
        if len(known) >= number:
            _known.put((room_id, number), known)
    return known
