"""Deletion: a room that everybody has left is deleted after a grace period.

1. The transaction in which the last user leaves, or rejects the last invite, marks the room as empty
(`rooms.writing.changes`). Users who left can still read it, and come back if the room allows it: the mark
counts only if the head says that the room is empty.

2. After the grace period the head is replaced by a tombstone, on condition that nobody is in the room or
invited. From then on the room is unknown: a concurrent append finds that the head has moved. The room's
aliases are deleted at once.

3. AFTERMATH_MS later every request that read the head before has ended. Then the rest is deleted, and finally
the tombstone and the mark.

Each step may run twice or concurrently, and continues where it was stopped: the mark leads to what is left.
Uploaded media stay, because they belong to users.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import DAY_MS, now_ms
from murmuration.settings import settings
from murmuration.storage.rooms import empty_rooms, room_removal
from murmuration.storage.rooms.empty_rooms import EmptyRoom

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

AFTERMATH_MS = 3_600_000
"""Longer than a function can run."""


def delete_empty_rooms(*, budget_ms: int) -> int:
    """Move each room that has been empty long enough one step further, until the time is over.

    Returns the number of deleted items. If the grace period isn't set, rooms are kept for ever.
    """
    days = settings().empty_room_days
    if not days:
        return 0
    deadline = now_ms() + budget_ms
    deleted = 0
    for room in empty_rooms.read_all():
        if now_ms() >= deadline:
            break
        if room.buried_ms is not None:
            if now_ms() - room.buried_ms >= AFTERMATH_MS:
                deleted += _remove(room.room_id, deadline)
        elif now_ms() - room.since_ms >= days * DAY_MS:
            deleted += _bury(room)
    return deleted


def _bury(room: EmptyRoom) -> int:
    """Make the room unknown if it is still empty; otherwise remove its mark."""
    try:
        empty_rooms.bury(room, now_ms())
    except ConditionFailed as error:
        if error.refused(empty_rooms.HEAD):
            with suppress(ConditionFailed):  # it was marked again just now
                empty_rooms.unmark(room)
        return 0
    return sum(room_removal.remove_names(room.room_id))


def _remove(room_id: RoomId, deadline: int) -> int:
    """Delete everything of a buried room until the deadline."""
    deleted = 0
    for part in room_removal.PARTS:
        for count in part(room_id):
            deleted += count
            if now_ms() >= deadline:
                return deleted
    with suppress(ConditionFailed):  # the next run will do it
        empty_rooms.forget(room_id)
    return deleted
