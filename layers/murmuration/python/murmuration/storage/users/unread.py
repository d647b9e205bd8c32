"""Unread events of which push gateways were told: the number on an app's icon.

One item of the table `users` has, by room, the ordinals of the events with their threads. The newest `MOST`
are kept. Only users with pushers have one. It is changed by its revision.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, Storable
from murmuration.aws.reads import Read, fetch
from murmuration.protocol.errors import Unavailable
from murmuration.storage.live.streams import pause

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId


TABLE, SK = "users", "unread"
MOST = 200
ATTEMPTS = 20

Unread = dict[str, list[tuple[int, str]]]
"""By room: the ordinals of unread events in order, each with its thread."""


def unread_read(user_id: UserId) -> Read[tuple[Unread, int]]:
    """Return the read of the unread events, and the item's revision."""
    return Read(TABLE, _key(user_id), _from_item)


def total(unread: Unread) -> int:
    """Return how many events are unread."""
    return sum(map(len, unread.values()))


def add(user_id: UserId, room_id: RoomId, ordinal: int, thread: str) -> int:
    """Add an event of which the user is notified, once, and return the number of unread events."""

    def change(unread: Unread) -> None:
        places = {*unread.get(room_id, ()), (ordinal, thread)}
        unread[room_id] = sorted(places)
        while total(unread) > MOST:
            room = max(unread, key=lambda each: len(unread[each]))
            unread[room] = unread[room][1:]

    return _change(user_id, change)[0]


def mark_read(
    user_id: UserId, room_id: RoomId, read_up_to: Mapping[str, int], *, gone: int | None = None
) -> tuple[int, bool]:
    """Remove unread events up to an ordinal for each thread, and the one at the ordinal `gone`.

    The thread "" stands for all threads. Returns the number of unread events that are left, and whether it
    changed.
    """

    def change(unread: Unread) -> None:
        left = [
            (ordinal, thread)
            for ordinal, thread in unread.get(room_id, ())
            if ordinal != gone and ordinal > max(read_up_to.get("", -1), read_up_to.get(thread, -1))
        ]
        if left:
            unread[room_id] = left
        else:
            unread.pop(room_id, None)

    return _change(user_id, change)


def forget(user_id: UserId) -> None:
    """Delete the item."""
    dynamodb.execute(dynamodb.delete(TABLE, _key(user_id)))


def _change(user_id: UserId, change: Callable[[Unread], None]) -> tuple[int, bool]:
    for attempt in range(ATTEMPTS):
        item = dynamodb.get(TABLE, _key(user_id))
        unread, revision = _from_item(item)
        before = json.dumps(unread)
        change(unread)
        if json.dumps(unread) == before:
            return total(unread), False
        values: dict[str, Storable] = {":revision": revision} if revision else {}
        try:
            dynamodb.execute(
                dynamodb.put(
                    TABLE,
                    {**_key(user_id), "rooms": json.dumps(unread), "revision": revision + 1},
                    condition="revision = :revision" if revision else "attribute_not_exists(revision)",
                    values=values or None,
                )
            )
        except ConditionFailed:
            pause(attempt)
            continue
        return total(unread), True
    raise Unavailable("Other requests are changing the unread counts; try again")


def read_total(user_id: UserId) -> int:
    """Return how many events are unread."""
    return total(fetch(unread_read(user_id))[0])


def _key(user_id: UserId) -> dict[str, str]:
    return {"user_id": user_id, "sk": SK}


def _from_item(item: Item | None) -> tuple[Unread, int]:
    if item is None:
        return {}, 0
    rooms: dict[str, list[list[Any]]] = json.loads(item["rooms"])
    unread = {room: [(int(place), str(thread)) for place, thread in each] for room, each in rooms.items()}
    return unread, int(item["revision"])
