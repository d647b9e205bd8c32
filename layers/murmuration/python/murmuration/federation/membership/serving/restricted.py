"""Restricted rooms: whether a user of another server may join, and which local user authorises it.

https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from murmuration.protocol.errors import Forbidden, NotFound, UnableToAuthoriseJoin, UnableToGrantJoin
from murmuration.protocol.event_types import CREATE_KEY, JOIN_RULES_KEY, MEMBER, POWER_LEVELS_KEY
from murmuration.protocol.power_levels import PowerLevels
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.membership.local_users import user_with_power
from murmuration.rooms.membership.operations import AUTHORISER
from murmuration.rooms.membership.restricted_joins import allowed_rooms
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import Append

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content
    from murmuration.protocol.identifiers import RoomId, UserId

MOST_ROOMS = 20
"""How many of the rooms in a join rule are checked for the user's membership."""


def joining_content(batch: Append, user_id: UserId) -> Content:
    """Return the content of a join by a user of another server, with the local user who authorises it.

    Raises Forbidden if the user is in none of the rooms whose members may join, UnableToAuthoriseJoin if this
    server isn't in all of those rooms, UnableToGrantJoin if no local user may invite.
    """
    state = batch.state([JOIN_RULES_KEY, POWER_LEVELS_KEY, CREATE_KEY, (MEMBER, user_id)])
    rules, member = state.get(JOIN_RULES_KEY), state.get((MEMBER, user_id))
    rule = rules.content.get("join_rule") if rules is not None else None
    is_restricted = batch.version.restricted_join_rule and rule in ("restricted", "knock_restricted")
    if rules is None or not is_restricted or (member and member.membership in ("join", "invite")):
        return {"membership": "join"}
    if member is not None and member.membership == "ban":
        raise Forbidden("The user is banned from the room")
    require_condition(user_id, allowed_rooms(rules.content.get("allow")))
    if batch.room is None:
        raise NotFound("The room is not known")
    levels = PowerLevels.from_state(state[CREATE_KEY], state.get(POWER_LEVELS_KEY), batch.version)
    authoriser = user_with_power(batch.room.head, levels, levels.invite, batch.state)
    if authoriser is None:
        raise UnableToGrantJoin("Nobody of this server may let the user in")
    return {"membership": "join", AUTHORISER: authoriser}


def require_condition(user_id: UserId, room_ids: Sequence[RoomId]) -> None:
    """Raise Forbidden, or UnableToAuthoriseJoin, unless the user is in one of these rooms."""
    wanted = [room_id for room_id in dict.fromkeys(room_ids) if fits_id(room_id)][:MOST_ROOMS]
    known = 0
    for room_id in wanted:
        with suppress(NotFound):
            room = Room.load(room_id)
            room.require_residency()
            known += 1
            if room.membership(user_id) == "join":
                return
    if known < len(wanted):
        raise UnableToAuthoriseJoin("This server is not in all of the rooms whose members may join")
    raise Forbidden("The user is in none of the rooms whose members may join")
