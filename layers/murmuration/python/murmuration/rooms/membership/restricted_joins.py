"""Restricted rooms: which users may join because of another room, and which member authorises it.

https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.protocol.event_types import CREATE_KEY, JOIN_RULES_KEY, MEMBER, POWER_LEVELS_KEY
from murmuration.protocol.power_levels import PowerLevels
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.membership.local_users import user_with_power
from murmuration.rooms.writing.append import Append
from murmuration.storage.users import memberships

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId

MOST_ROOMS = 100
"""How many of the rooms in a join rule are checked for the user's membership."""


def authorising_user(batch: Append, user_id: UserId) -> UserId | None:
    """Return the member whose server authorises the join; None if none is needed or none is found.

    The auth rules decide afterwards: without an authorising user they refuse everyone who isn't invited.
    """
    state = batch.state([JOIN_RULES_KEY, POWER_LEVELS_KEY, CREATE_KEY, (MEMBER, user_id)])
    rules = state.get(JOIN_RULES_KEY)
    if rules is None or rules.content.get("join_rule") not in ("restricted", "knock_restricted"):
        return None
    member = state.get((MEMBER, user_id))
    if member is not None and member.membership in ("join", "invite"):
        return None
    if not is_in_any(user_id, allowed_rooms(rules.content.get("allow"))):
        return None
    levels = PowerLevels.from_state(state[CREATE_KEY], state.get(POWER_LEVELS_KEY), batch.version)
    if batch.room is None:
        return None
    return user_with_power(batch.room.head, levels, levels.invite, batch.state)


def allowed_rooms(allow: object) -> list[RoomId]:
    """Return the rooms whose members may join, from the `allow` of the join rules."""
    conditions = allow if isinstance(allow, list) else []
    return [
        condition["room_id"]
        for condition in conditions
        if isinstance(condition, dict)
        and condition.get("type") == "m.room_membership"
        and isinstance(condition.get("room_id"), str)
    ]


def is_in_any(user_id: UserId, room_ids: Iterable[RoomId]) -> bool:
    """Return whether the user is joined to one of these rooms. All are looked up at once. IDs may be
    invalid.
    """
    wanted = [room_id for room_id in dict.fromkeys(room_ids) if fits_id(room_id)][:MOST_ROOMS]
    rows = concurrency.parallel(
        *(functools.partial(memberships.read_membership, user_id, room_id) for room_id in wanted)
    )
    return any(row is not None and row.membership == "join" for row in rows)
