"""Gaps in a room's log, in which events that come later get a place.

An event that follows a missing event leaves a gap before itself: the ordinals of the log jump there. A
missing event that is found later gets a place in the gap, right before the lowest event that follows it.
Positions in the timeline are ordinals, so they stay valid. Events in a gap keep some distance from each
other, for events between them: half of the space that is left there, at most STEP. The same goes for events
from before the log's beginning.
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
"""No gaps are left after this ordinal: half of the largest ordinal."""
STEP = 1000


class Places:
    """Gives out places in the gaps of one room, for events that are then written together."""

    def __init__(self, room_id: RoomId) -> None:
        self._room_id = room_id
        self._given: list[int] = []
        self._below: dict[int, int | None] = {}

    def before(self, follower: Follower) -> int | None:
        """Return a free ordinal right before an event that follows; None if there is no room left.

        Reads one entry, unless the event that follows got its own place here.
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
