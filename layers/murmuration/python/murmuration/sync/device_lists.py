"""Whose devices a client should look up anew, after a room moved.

https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from __future__ import annotations

from collections.abc import Sequence

from murmuration.keys.device_lists import users_in
from murmuration.protocol.events import Event
from murmuration.rooms.room import Room
from murmuration.storage import memberships, room_items
from murmuration.storage.dynamodb import Item
from murmuration.sync.context import Context, DeviceLists
from murmuration.sync.positions import RoomPosition
from murmuration.sync.timeline import MEMBER, Window, state_delta


def device_lists_of(
    ctx: Context, room: Room, position: RoomPosition | None, window: Window, items: Sequence[Item]
) -> DeviceLists:
    """The changes that one joined room brings; none for a first sync, whose client knows nobody yet."""
    lists = DeviceLists()
    if ctx.base is None:
        return lists
    lists.changed = users_in(items)
    if room.event("m.room.encryption") is None:
        return lists
    if position is None or any(entry.event.type == "m.room.encryption" for entry in window.passed):
        lists.changed |= members_of(room) - {ctx.user_id}
        return lists
    if window.limited or any(entry.resolved for entry in window.passed):
        events: list[Event] = list(state_delta(room, position.ordinal, room.head.state_root).values())
    else:
        events = [entry.event for entry in window.passed]
    for event in events:
        if event.type == MEMBER and event.state_key != ctx.user_id:
            (lists.changed if event.membership == "join" else lists.left).add(event.state_key or "")
    lists.left = {user_id for user_id in lists.left - lists.changed if not share_room(ctx.user_id, user_id)}
    return lists


def after_leaving(ctx: Context, room: Room) -> DeviceLists:
    """Those whom the user shares no room with any more, having left this one."""
    others = members_of(room) - {ctx.user_id}
    return DeviceLists(left={user_id for user_id in others if not share_room(ctx.user_id, user_id)})


def members_of(room: Room) -> set[str]:
    """The joined members."""
    entries = room_items.read_state_of_type(room.room_id, room.version, MEMBER)
    return {entry.event.state_key or "" for entry in entries if entry.event.membership == "join"}


def share_room(user_id: str, other_id: str) -> bool:
    """Whether two users are in a room together."""
    own, others = (
        {row.room_id for row in memberships.read_memberships(each) if row.membership == "join"}
        for each in (user_id, other_id)
    )
    return not own.isdisjoint(others)
