"""Reads everything that the answer to a sync needs at once, and adds it part by part."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence

from murmuration.aws import concurrency
from murmuration.clock import now_ms
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.sizes import Budget
from murmuration.rooms.room import Room
from murmuration.storage.live import streams
from murmuration.storage.live.positions import Positions
from murmuration.storage.rooms.room_items import RoomHead
from murmuration.storage.users.memberships import Membership
from murmuration.sync import account, joined, other_rooms, presence
from murmuration.sync.answer import Answer
from murmuration.sync.assembly.rooms import SETTLING_MS, add_joined, add_others, keep_current
from murmuration.sync.context import Context
from murmuration.sync.first_look import FirstLook, read_rooms
from murmuration.sync.request import SyncRequest
from murmuration.sync.unread import rule_digests


def assemble(
    request: SyncRequest,
    first: FirstLook,
    *,
    late: bool = False,
    surely: Collection[str] = (),
    beside: Sequence[Callable[[], object]] = (),
) -> Answer:
    """Read everything once, and return the answer. With `late` it may miss very recent changes.

    It misses nothing in the rooms in `surely`. The functions in `beside` are called at the same time.
    """
    making = _Assembly(request, first)
    rooms, changes, *_ = concurrency.gather(
        functools.partial(read_rooms, making.rooms_to_read(), late, surely)
        if first.rooms is None
        else first.rooms.copy,
        functools.partial(account.changes, first, to_device=request.to_device, keys=request.reader.tracks),
        *beside,
        at_once=bool(beside) or not account.is_quiet(first),
    )
    return making.answer_of(rooms, changes, late=late)


class _Assembly:
    """One answer while it is put together: account data, then joined rooms, other rooms, and presence.

    The rooms get the bytes that the account data leaves. `admitted` are the rooms that the user is in and
    the filter admits.
    """

    def __init__(self, request: SyncRequest, first: FirstLook) -> None:
        self.first = first
        self.ctx = ctx = Context(
            requester=first.requester,
            filter=first.filter,
            base=first.base,
            now_ms=now_ms(),
            push_changes=first.push_changes,
            full_state=request.full_state,
            state_after=request.state_after,
            reader=request.reader,
            takes_text=request.takes_text,
        )
        positions = first.base.copy() if first.base is not None else Positions()
        ctx.ignored = frozenset(positions.ignored)
        self.answer = Answer(positions, names_all=request.whole)
        self.admitted = [row for row in first.member_of if ctx.filter.room.admits_room(row.room_id)]
        self.others = other_rooms.changed(ctx, [row for row in first.memberships if row.membership != "join"])

    def rooms_to_read(self) -> list[RoomId]:
        return [row.room_id for row in (*self.admitted, *self.others.left, *self.others.outside)]

    def answer_of(self, rooms: dict[str, Room], changes: account.Changes, *, late: bool) -> Answer:
        """Return the answer with the news of these rooms, and these changes of the user and the device."""
        ctx, answer = self.ctx, self.answer
        ctx.reader.look()
        if any(room.head.unsettled for room in rooms.values()):
            answer.again_ms = ctx.now_ms + SETTLING_MS
        account.take(ctx, answer, changes)
        budget = Budget(answer.bytes_for_rooms())
        rules = rule_digests.digests_of(ctx.user_id, ctx.push_changes, ctx.ignored)
        joined_rooms = [(rooms[row.room_id], row) for row in self.admitted if row.room_id in rooms]
        present = self._add_joined(joined_rooms, rules, budget)
        overlooked = self._add_others(rooms, budget, late=late)
        self._add_presence(changes.presence, present, [room.head for room, _ in joined_rooms])
        answer.sections |= ctx.reader.asking(ctx, changes.asking)
        if self.first.rooms is None:
            keep_current(ctx, answer, self.first.memberships, overlooked)
        answer.is_complete = (
            not overlooked
            and answer.positions.counted_by == rules
            and answer.positions.user >= self.first.user_head
            and answer.positions.device >= self.first.device_head
            and all(self._is_shown(room) for room, _ in joined_rooms)
        )
        return answer

    def _add_joined(
        self, rooms: Sequence[tuple[Room, Membership]], rules: rule_digests.Digests, budget: Budget
    ) -> dict[UserId, str]:
        """Add the joined rooms that fit. Returns a room for each user whose presence changed there.

        If all rooms are shown whose events were counted by other rules, the client's positions get `rules`.
        """
        ctx, answer = self.ctx, self.answer
        if ctx.reader.tracks and ctx.base is not None:
            ctx.outdated = rule_digests.outdated(ctx.base.counted_by, rules)
        told, present = add_joined(ctx, answer, rooms, budget)
        untold = {row.room_id for row in self.admitted} - told
        self._keep_untold(untold)
        if ctx.reader.tracks and not any(ctx.outdated.has(ctx.hash(room_id)) for room_id in untold):
            answer.positions.counted_by = rules
        return present

    def _add_others(self, rooms: Mapping[str, Room], budget: Budget, *, late: bool) -> set[str]:
        """Add the rooms that the user isn't in. Returns those that the next look has to show."""
        overlooked = {
            str(row.room_id)
            for row in self.others.left
            if other_rooms.is_overlooked(rooms.get(row.room_id), row, late)
        }
        known = {name: room for name, room in rooms.items() if name not in overlooked}
        refused = add_others(self.ctx, self.answer, self.others, known, budget)
        self._keep_untold(refused)
        return overlooked | refused

    def _keep_untold(self, room_ids: Collection[RoomId]) -> None:
        """Make the next answer show the account data of rooms that this one leaves out."""
        positions = self.answer.positions
        untold = [item for room_id in room_ids for item in self.ctx.room_data.get(room_id, ())]
        positions.user = min([positions.user, *(streams.seq_of(item) - 1 for item in untold)])

    def _add_presence(
        self, by_user: Mapping[UserId, str], by_room: Mapping[UserId, str], heads: Sequence[RoomHead]
    ) -> None:
        """Add the presence of users whose presence changed, by the user's stream and by the rooms' streams.

        A first sync also gets that of the online members of small rooms.
        """
        ctx = self.ctx
        in_rooms = dict(by_room)
        if ctx.base is None and ctx.reader.tracks:
            in_rooms |= presence.members_there(ctx, heads)
        in_rooms.pop(ctx.user_id, None)  # the user's own presence comes through their own stream
        told = {**by_user, **in_rooms}
        if told or presence.overdue(ctx):
            room_ids = {row.room_id for row in self.first.member_of}
            events = presence.presence_events(ctx, self.answer.positions, told, room_ids)
            if events:
                self.answer.sections["presence"] = {"events": events}

    def _is_shown(self, room: Room) -> bool:
        """Return whether the answer shows a joined room as far as it is settled."""
        if room.head.unsettled is not None:
            return True
        return joined.is_shown(self.answer.positions, self.ctx.hash(room.room_id), room)
