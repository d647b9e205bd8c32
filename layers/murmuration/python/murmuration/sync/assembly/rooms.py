"""Adds the rooms' sections to a sync's answer: as many as fit, and as can be built in time.

The next answer has the others. An answer that `names_all` has the others itself: only their membership, with
which the client can request the room, and the stream continues from there.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from murmuration.aws import concurrency
from murmuration.protocol.sizes import Budget, RawJson, encode, json_bytes
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import RoomPosition, mark, room_hash
from murmuration.storage.users.memberships import Membership
from murmuration.sync import joined, other_rooms
from murmuration.sync.answer import Answer
from murmuration.sync.context import Context
from murmuration.sync.device_lists import after_leaving
from murmuration.sync.joined import RoomPart

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId
    from murmuration.sync.readers.json_types import RoomSection

ROOMS_AT_ONCE = 100
"""The sections of this many rooms are built in parallel, before it is known which of them fit."""
STATE_AT_ONCE = 10_000_000
"""The maximum size of their state together, without members, if all of it is read."""
SETTLING_MS = 1000
"""After how long to look again at a room whose state is being settled: nothing rings when that is done."""


def add_joined(
    ctx: Context, answer: Answer, rooms: Sequence[tuple[Room, Membership]], budget: Budget
) -> tuple[set[str], dict[UserId, str]]:
    """Add the sections of joined rooms. Returns the rooms in the answer, and a room for each changed
    presence.

    Rooms that don't fit are left for the next answer, in which they come first: so none is left out for ever.
    """
    told: set[str] = set()
    present: dict[UserId, str] = {}
    rest = _to_show(ctx, answer, rooms)
    full = False
    while rest and not full and not answer.is_late:
        answer.go_on()
        some, rest = some_of(ctx, rest)
        if ctx.base is None and len(some) > 1:
            joined.read_ahead(ctx, [room for room, _ in some])
        seen = joined.with_own_data(ctx, some)
        parts = concurrency.parallel(*(functools.partial(joined.joined_room, seen, *pair) for pair in some))
        for (room, row), part in zip(some, parts, strict=True):
            if part is None:
                continue
            if not _fits(ctx, part, budget):
                full = True
                rest = [*rest, (room, row)]
                continue
            told.add(room.room_id)
            present |= part.presence
            _add_part(ctx, answer, room, part)
    for room, row in rest:
        if answer.names_all:
            told.add(room.room_id)
            position = RoomPosition(room.head.ordinal, room.head.seq)
            _add_part(ctx, answer, room, RoomPart(position, {"membership": row.membership}))
        elif ctx.full_state:  # it has all of the state in the next answer too
            answer.positions.rooms.pop(ctx.hash(room.room_id), None)
    return told, present


def _to_show(
    ctx: Context, answer: Answer, rooms: Sequence[tuple[Room, Membership]]
) -> Sequence[tuple[Room, Membership]]:
    """Return the rooms with updates to show now. Those whose last update was longest ago come first."""
    moved = [(room, row) for room, row in rooms if joined.moved(ctx, room)]
    wanted = [
        (room, row) for room, row in moved if not ctx.reader.postpones(joined.known_position(ctx, room, row))
    ]
    if len(wanted) < len(moved):
        answer.again_ms = ctx.now_ms + SETTLING_MS
    order = {name: number for number, name in enumerate(ctx.base.rooms if ctx.base is not None else ())}
    return sorted(wanted, key=lambda pair: order.get(ctx.hash(pair[0].room_id), -1))


def _fits(ctx: Context, part: RoomPart, budget: Budget) -> bool:
    """Take a section's bytes from the budget. Returns False if they are too many."""
    if part.section is None:
        return True
    text = "".join(encode(part.section))
    if not budget.take(len(text.encode())):
        return False
    if ctx.takes_text:  # the text isn't parsed again
        part.section = cast("RoomSection", RawJson(text))
    return True


def _add_part(ctx: Context, answer: Answer, room: Room, part: RoomPart) -> None:
    """Add a joined room's part. The room moves to the end of the order in which rooms were shown."""
    name = ctx.hash(room.room_id)
    answer.positions.rooms.pop(name, None)
    answer.positions.rooms[name] = part.position
    answer.positions.typing_until_ms.pop(name, None)
    if part.typing_until_ms:
        answer.positions.typing_until_ms[name] = part.typing_until_ms
    answer.device_lists |= part.device_lists
    if part.section is not None:
        answer.rooms.setdefault("join", {})[room.room_id] = part.section


def add_others(
    ctx: Context, answer: Answer, others: other_rooms.OtherRooms, rooms: dict[str, Room], budget: Budget
) -> set[RoomId]:
    """Add the sections of rooms that the user isn't in. Returns the rooms left for the next answer."""
    refused: set[RoomId] = set()
    for kind, row in _rows_outside(ctx, answer, others, rooms):
        section = ctx.reader.outside(ctx, row)
        if section is not None and not budget.take(json_bytes(section)):
            refused.add(row.room_id)
        elif section is not None:
            answer.rooms.setdefault(kind, {})[row.room_id] = section
    left = [row for row in others.left if row.room_id in rooms and not row.is_outside]
    left.sort(key=lambda row: row.changed_ms or 0, reverse=True)
    if refused:
        refused |= {row.room_id for row in left}
    else:
        refused = _add_departed(ctx, answer, [(rooms[row.room_id], row) for row in left], budget)
    if answer.names_all:
        for row in (row for row in left if row.room_id in refused):
            _add_left(ctx, answer, rooms[row.room_id], {"membership": row.membership})
        refused -= {row.room_id for row in left}
    return refused


def _rows_outside(
    ctx: Context, answer: Answer, others: other_rooms.OtherRooms, rooms: Mapping[str, Room]
) -> Iterator[tuple[str, Membership]]:
    """Yield the rooms that the user sees from outside, each with its part of the answer."""
    invited = () if answer.positions.blocks_invites else others.invited
    for row in invited:
        if row.sender not in ctx.ignored:
            yield "invite", other_rooms.without_erased(ctx, rooms.get(row.room_id), row)
    for row in others.knocked:
        yield "knock", other_rooms.without_erased(ctx, rooms.get(row.room_id), row)
    for row in others.left:
        if row.is_outside:
            yield "leave", row


def _add_departed(
    ctx: Context, answer: Answer, rooms: Sequence[tuple[Room, Membership]], budget: Budget
) -> set[RoomId]:
    """Add the sections of rooms that the user left, until one doesn't fit. Returns those for the next
    answer.
    """
    refused: set[RoomId] = set()
    rest = rooms
    while rest and not refused and not answer.is_late:
        answer.go_on()
        some, rest = some_of(ctx, rest)
        for (room, row), section in zip(some, ctx.reader.left(ctx, some), strict=True):
            if section is not None and not budget.take(json_bytes(section)):
                refused.add(row.room_id)
            else:
                _add_left(ctx, answer, room, section)
    return refused | {row.room_id for _, row in rest}


def some_of(
    ctx: Context, rooms: Sequence[tuple[Room, Membership]]
) -> tuple[Sequence[tuple[Room, Membership]], Sequence[tuple[Room, Membership]]]:
    """Return the first of the rooms, whose sections are built in parallel, and the others.

    Only afterwards it is known how many of them fit. So they are few if their state is large.
    """
    left = STATE_AT_ONCE
    for number, (room, _) in enumerate(rooms[:ROOMS_AT_ONCE]):
        if ctx.full_state or ctx.position(room.room_id) is None:
            left -= room.head.state_bytes or 0
        if left < 0:
            return rooms[: number + 1], rooms[number + 1 :]
    return rooms[:ROOMS_AT_ONCE], rooms[ROOMS_AT_ONCE:]


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
    """Remove positions in rooms that aren't among these memberships, and set the marks of rooms that the user
    isn't in.

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
