"""Finds a local user who has enough power in a room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.power_levels import PowerLevels
from murmuration.rooms.lookup import fits_id
from murmuration.storage.rooms import member_index
from murmuration.storage.rooms.room_items import RoomHead

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

_CANDIDATES = 50


def user_with_power(
    head: RoomHead,
    levels: PowerLevels,
    needed: int,
    state: Callable[[Iterable[StateKey]], Mapping[StateKey, Event]],
) -> UserId | None:
    """Return a joined local user with a power level of at least `needed`; None if there is none.

    Users named by the power levels are looked up in `state`, the most powerful first. All others have the
    default level, so they are considered only if that is enough. It reads only a few items, however large the
    room is.
    """
    if not head.is_resident:
        return None
    named = [
        user_id
        for user_id in levels.named_users()
        if member_index.is_local(user_id) and fits_id(user_id) and levels.user_level(user_id) >= needed
    ]
    named = sorted(named, key=lambda it: (levels.user_level(it), it), reverse=True)[:_CANDIDATES]
    members = state([(MEMBER, user_id) for user_id in named])
    for user_id in named:
        member = members.get((MEMBER, user_id))
        if member is not None and member.membership == "join":
            return user_id
    if levels.users_default < needed:
        return None
    others = member_index.read_local(head, limit=_CANDIDATES)
    return next((user_id for user_id in others if levels.user_level(user_id) >= needed), None)
