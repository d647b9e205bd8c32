"""Adds to a sync's answer the rooms that the user isn't in."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.protocol.sizes import Budget, json_bytes
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import mark, room_hash
from murmuration.storage.users.memberships import Membership
from murmuration.sync import other_rooms
from murmuration.sync.answer import Answer
from murmuration.sync.context import Context
from murmuration.sync.device_lists import after_leaving

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId
    from murmuration.sync.readers.json_types import RoomSection

ROOMS_AT_ONCE = 100
"""The sections of so many rooms are made side by side, before it is known which of them fit."""


def add_others(
    ctx: Context, answer: Answer, others: other_rooms.OtherRooms, rooms: dict[str, Room], budget: Budget
) -> set[RoomId]:
    """Add the sections of rooms that the user isn't in. Return the rooms left for the next answer."""
    refused: set[RoomId] = set()
    invited = [row for row in others.invited if row.sender not in ctx.ignored]
    if answer.positions.blocks_invites:
        invited = []
    for kind, members in (("invite", invited), ("knock", others.knocked)):
        for each in members:
            row = other_rooms.without_erased(ctx, rooms.get(each.room_id), each)
            section = ctx.reader.outside(ctx, row)
            if section is not None and not budget.take(json_bytes(section)):
                refused.add(row.room_id)
            elif section is not None:
                answer.rooms.setdefault(kind, {})[row.room_id] = section
    for row in (row for row in others.left if row.is_outside):
        section = ctx.reader.outside(ctx, row)
        if section is not None:
            answer.rooms.setdefault("leave", {})[row.room_id] = section
    left = [row for row in others.left if row.room_id in rooms and not row.is_outside]
    for start in range(0, len(left), ROOMS_AT_ONCE):
        some = left[start : start + ROOMS_AT_ONCE]
        calls = [functools.partial(ctx.reader.left, ctx, rooms[row.room_id], row) for row in some]
        for row, section in zip(some, concurrency.parallel(*calls), strict=True):
            if section is not None and not budget.take(json_bytes(section)):
                refused.add(row.room_id)
            else:
                _add_left(ctx, answer, rooms[row.room_id], section)
        if refused:
            refused |= {row.room_id for row in left[start + ROOMS_AT_ONCE :]}
            break
    return refused


def _add_left(ctx: Context, answer: Answer, room: Room, section: RoomSection | None) -> None:
    name = ctx.hash(room.room_id)
    if section is not None:
        answer.rooms.setdefault("leave", {})[room.room_id] = section
    if ctx.reader.tracks and ctx.base is not None and name in ctx.base.rooms:
        answer.device_lists |= after_leaving(ctx, room)
    answer.positions.rooms.pop(name, None)
    answer.positions.typing_until_ms.pop(name, None)


def keep_current(
    ctx: Context, answer: Answer, rows: Sequence[Membership], overlooked: Collection[str]
) -> None:
    """Drop positions in rooms that aren't among these memberships, and set the marks of rooms the user isn't
    in.

    Rooms in `overlooked` get no mark, nor do invites of a user who blocks them.
    """
    keep = {ctx.hash(row.room_id) for row in rows}
    answer.positions.rooms = {
        room: position for room, position in answer.positions.rooms.items() if room in keep
    }
    hides_invites = answer.positions.blocks_invites
    shown = [row for row in rows if row.room_id not in overlooked]
    others = [row for row in shown if not (row.membership == "invite" and hides_invites)]
    answer.positions.others = marks_of_others(ctx.user_id, others)


def marks_of_others(user_id: UserId, rows: Sequence[Membership]) -> dict[str, str]:
    """Return a mark of the user's membership, by room hash, for each room that they aren't joined to."""
    return {room_hash(user_id, row.room_id): mark(row.event_id) for row in rows if row.membership != "join"}
