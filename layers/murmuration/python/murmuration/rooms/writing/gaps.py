"""Gaps in a room's log, in which events that arrive later get a place.

An event that follows a missing event leaves a gap before itself: the ordinals of the log jump there. A
missing event that is found later gets a place in the gap, right before the lowest event that follows it.
Positions in the timeline are ordinals, so they stay valid. An event in a gap keeps some distance from the
next one, for events between them: half of the remaining space, at most STEP. The same applies to events from
before the log's beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.event_store import Follower

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

GAP = 10**9
"""How many ordinals a gap has: room for a million events in order."""
GAPS_UNTIL = 5 * 10**14
"""After this ordinal no gaps are left: it is half of the largest ordinal."""
STEP = 1000


class Places:
    """Assigns places in the gaps of one room, to events that are then written together."""

    def __init__(self, room_id: RoomId) -> None:
        self._room_id = room_id
        self._given: list[int] = []
        self._below: dict[int, int | None] = {}

    def before(self, follower: Follower) -> int | None:
        """Return a free ordinal right before the event `follower`; None if there is no room left.

        Reads one entry, unless that event's own place was assigned here.
        """
        high = follower.ordinal
        if high not in self._below:
            self._below[high] = room_items.read_previous_ordinal(self._room_id, high)
        stored = self._below[high]
        known = [ordinal for ordinal in self._given if ordinal < high]
        low = max([*known, *([stored] if stored is not None else [])], default=None)
        free = STEP * 2 if low is None else high - low - 1
        if free < 1:
            return None
        ordinal = high - min(STEP, (free + 1) // 2)
        self._given.append(ordinal)
        self._below[ordinal] = stored
        return ordinal
