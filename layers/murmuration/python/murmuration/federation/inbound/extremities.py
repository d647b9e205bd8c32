"""Keeps the number of a room's forward extremities small: the newest events, which no event follows yet.

Each new event is judged by the states after all of them, so many extremities make every event expensive, on
other servers as well. Above a limit this server sends a dummy event that follows several of them; clients
don't see it. Other servers do the same. If no local user may send one, `reception.MOST_EXTREMITIES` bounds
the number.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING

from murmuration.protocol.errors import MatrixError
from murmuration.protocol.event_types import CREATE_KEY, POWER_LEVELS_KEY
from murmuration.protocol.power_levels import PowerLevels
from murmuration.rooms.membership.local_users import user_with_power
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import EXTREMITIES_LIMIT, Append, Draft, append
from murmuration.storage.rooms.room_items import DUMMY_EVENT

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

_STATE = [CREATE_KEY, POWER_LEVELS_KEY]


def join_extremities(room_id: RoomId, *, most: int = EXTREMITIES_LIMIT) -> None:
    """Send a dummy event if the room has more than `most` forward extremities and a local user may send one.

    If the room stays contended, the next event tries again.
    """
    room = Room.load(room_id)
    if len(room.head.extremities) <= most:
        return
    with suppress(MatrixError):
        append(room_id, functools.partial(_plan, most=most), room=room)


def _plan(batch: Append, *, most: int) -> None:
    if batch.room is None or len(batch.room.head.extremities) <= most:
        return
    state = batch.state(_STATE)
    levels = PowerLevels.from_state(state.get(_STATE[0]), state.get(_STATE[1]), batch.version)
    needed = levels.event_level(DUMMY_EVENT, is_state=False)
    sender = user_with_power(batch.room.head, levels, needed, batch.state)
    if sender is not None:
        batch.add(Draft(DUMMY_EVENT, sender, {}))
