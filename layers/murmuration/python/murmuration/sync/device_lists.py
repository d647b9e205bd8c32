"""Users whose devices a client should fetch again after a room has changed.

https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import Item
from murmuration.protocol.event_types import ENCRYPTION, MEMBER
from murmuration.protocol.events import Event
from murmuration.rooms.room import Room
from murmuration.storage.keys.device_lists import users_in
from murmuration.storage.live.positions import RoomPosition
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.rooms.room_items import LogEntry, RoomHead
from murmuration.storage.users import memberships
from murmuration.sync.context import Context, DeviceLists
from murmuration.sync.timeline import Window, state_delta

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId

FEW = 8
"""How many users are looked up one by one, even if reading all members of a few rooms would be possible."""


def device_lists_of(
    ctx: Context, room: Room, position: RoomPosition | None, window: Window, items: Sequence[Item]
) -> DeviceLists:
    """Return the changes through one joined room. A first sync has none, because its client knows no devices
    yet.
    """
    lists = DeviceLists()
    if ctx.base is None:
        return lists
    lists.changed = users_in(items)
    if room.event(ENCRYPTION) is None:
        return lists
    if position is None or any(entry.event.type == ENCRYPTION for entry in window.passed):
        lists.changed |= members_of(room) - {ctx.user_id}
        return lists
    if window.limited or any(entry.resolved for entry in window.passed):
        events: list[Event] = list(state_delta(room, position.ordinal, room.head.state_root).values())
    else:
        events = [entry.event for entry in window.passed if _came_or_went(entry)]
    for event in events:
        if event.type == MEMBER and event.state_key != ctx.user_id:
            (lists.changed if event.membership == "join" else lists.left).add(event.member_id)
    lists.left = sharing_none(ctx.user_id, lists.left - lists.changed)
    return lists


def _came_or_went(entry: LogEntry) -> bool:
    """Return whether a user joins or leaves by the event. It may instead be a new profile or a rejected
    invite.
    """
    before = entry.replaced["content"].get("membership") if entry.replaced is not None else None
    return (entry.event.membership == "join") != (before == "join")


def after_leaving(ctx: Context, room: Room) -> DeviceLists:
    """Return the users with whom the user shares no encrypted room any more after leaving this one."""
    if room.event(ENCRYPTION) is None:
        return DeviceLists()
    return DeviceLists(left=sharing_none(ctx.user_id, members_of(room) - {ctx.user_id}))


def members_of(room: Room) -> set[UserId]:
    """Return the joined members, from the room's member index."""
    return set(member_index.read_present(room.head))


def sharing_none(user_id: UserId, others: Collection[UserId]) -> set[UserId]:
    """Return those `others` who share no encrypted room with a user.

    If there are few, their memberships in those rooms are read, one small item each; if there are many, the
    members of those rooms.
    """
    if not others:
        return set()
    heads = [head for head in _heads(_joined_rooms(user_id)) if head.is_resident]
    if not heads:
        return set(others)
    few = len(others) <= max(FEW, len(heads))
    asked = [head for head in heads if few and head.is_indexed]
    joined = member_index.read_joined_among([head.room_id for head in asked], sorted(others))
    whole = [head for head in heads if head not in asked]
    members = concurrency.parallel(*(functools.partial(member_index.read_present, head) for head in whole))
    return set(others).difference(joined, *members)


def _joined_rooms(user_id: UserId) -> list[RoomId]:
    return [row.room_id for row in memberships.read_memberships(user_id) if row.membership == "join"]


def _heads(room_ids: Sequence[RoomId]) -> list[RoomHead]:
    """Return the heads of the encrypted ones of these rooms."""
    encrypted = room_items.read_rooms_with_state(room_ids, (ENCRYPTION, ""))
    return list(room_items.read_heads(sorted(encrypted)).values())
