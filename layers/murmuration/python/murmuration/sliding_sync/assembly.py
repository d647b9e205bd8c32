"""One look of a sliding sync: all updates for a connection, and the client's state after them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.clock import now_ms
from murmuration.protocol.event_types import DIRECT, IGNORED_USERS, INVITE_PERMISSION
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.protocol.sliding import required_state
from murmuration.protocol.sliding.requests import RoomScope, SlidingRequest
from murmuration.rooms.membership.invitees import blocks_invites
from murmuration.rooms.reading.visibility import ignored_users
from murmuration.rooms.room import Room
from murmuration.sliding_sync import devices, lists, other_rooms, rooms
from murmuration.sliding_sync.devices import KeyCounts
from murmuration.sliding_sync.lists import InSight, Wish
from murmuration.sliding_sync.look import Look
from murmuration.sliding_sync.rooms import Asked, RoomPart
from murmuration.storage.live.positions import mark
from murmuration.storage.live.sliding_positions import ConnectionState
from murmuration.storage.live.to_device import Inbox
from murmuration.storage.rooms import room_items
from murmuration.storage.users import account_data
from murmuration.storage.users.memberships import Membership
from murmuration.sync import account, joined, waiting
from murmuration.sync.context import Context, DeviceLists
from murmuration.sync.readers.sections import SYNC
from murmuration.sync.unread import rule_digests
from murmuration.sync.unread.rule_digests import Outdated

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content, JsonDict
    from murmuration.sliding_sync.json_types import ListCount, RoomSection, SlidingSyncAnswer

ROOMS_AT_ONCE = 50
"""The sections of this many rooms are built in parallel, before it is known which of them fit."""
LONGEST_S = 8.0
"""How long rooms are added to an answer. The others come with the next answer."""
SETTLING_MS = 1000
"""After how long to look again at a room whose state is being settled: nothing rings when that is done."""
RESERVED_BYTES = 400_000
LEAST_ROOM_BYTES = 1_000_000
"""The part of an answer that the rooms may take in any case."""


@dataclass
class SlidingAnswer:
    """An answer that is being built. `state` is the client's state after it.

    `is_new` says that it has updates for which the client waits. `is_partial` says that updates were left for
    the next answer, for which no ring may come. `again_ms` is when to look again at updates for which nothing
    rings; 0 for none.
    """

    state: ConnectionState
    counts: dict[str, int] = field(default_factory=dict)
    rooms: dict[str, RoomSection] = field(default_factory=dict)
    extensions: JsonDict = field(default_factory=dict)
    is_new: bool = False
    is_partial: bool = False
    again_ms: int = 0

    @property
    def changes_ms(self) -> int:
        """When something may change merely because time passes (milliseconds); 0 for never."""
        ends = (self.again_ms, waiting.typing_end_ms(self.state.positions))
        return min((end for end in ends if end), default=0)

    def as_json(self, pos: str) -> SlidingSyncAnswer:
        counts: dict[str, ListCount] = {name: {"count": count} for name, count in self.counts.items()}
        return {"pos": pos, "lists": counts, "rooms": self.rooms, "extensions": self.extensions}

    def when_quiet(self) -> SlidingSyncAnswer:
        """Return the JSON of the next answer if there are no updates until then. Its `pos` is empty."""
        extensions: JsonDict = {}
        if "to_device" in self.extensions:
            extensions["to_device"] = {**self.extensions["to_device"], "events": []}
        if "e2ee" in self.extensions:
            extensions["e2ee"] = devices.keys_section(self.state, DeviceLists())
        return {**self.as_json(""), "rooms": {}, "extensions": extensions}

    def moves_messages(self, since: str) -> bool:
        """Return whether the client's position in its to-device messages differs from `since`."""
        return "to_device" in self.extensions and self.extensions["to_device"]["next_batch"] != since

    def for_rooms(self, name: str) -> dict[str, object]:
        """Return the `rooms` part of an extension."""
        section: dict[str, object] = self.extensions.setdefault(name, {}).setdefault("rooms", {})
        return section


def assemble(
    request: SlidingRequest,
    look: Look,
    *,
    late: bool = False,
    beside: Sequence[Callable[[], object]] = (),
) -> SlidingAnswer:
    """Read everything once, and return the answer. With `late` it may miss very recent changes.

    The functions in `beside` are called at the same time. Raises InvalidParam for an invalid `since`.
    """
    return _Assembly(request, look, late=late).run(beside)


class _Assembly:
    """The building of one answer."""

    def __init__(self, request: SlidingRequest, look: Look, *, late: bool) -> None:
        self.request = request
        self.look = look
        self.late = late
        self.began = time.monotonic()
        self.before = look.place.state if look.place is not None else None
        self.answer = SlidingAnswer(look.state())
        self.state = self.answer.state
        contents = look.facts.contents
        self.direct = _direct_rooms(contents.get(DIRECT, {}))
        self.ctx = Context(
            requester=look.requester,
            filter=look.first.filter,
            base=look.first.base,
            now_ms=now_ms(),
            push_changes=look.first.push_changes,
            reader=SYNC,
            ignored=frozenset(ignored_users(contents.get(IGNORED_USERS)) - {look.requester.user_id}),
        )
        self.rows = self._visible_rows(blocks_invites(contents.get(INVITE_PERMISSION, {})))

    def _visible_rows(self, no_invites: bool) -> list[Membership]:
        """Return the user's memberships, without hidden invites."""
        return [
            row
            for row in self.look.facts.memberships
            if row.membership != "invite" or not (no_invites or row.sender in self.ctx.ignored)
        ]

    def run(self, beside: Sequence[Callable[[], object]]) -> SlidingAnswer:
        request, state = self.request, self.state
        since = devices.place_in_messages(request.to_device_since)
        left = [row for row in self.rows if lists.is_news(state, row)]
        others = [row for row in self.rows if row.membership != "join" and lists.is_listed(row)]
        others = [row for row in others if not self._is_told(row)]
        wanted: list[RoomId] = [row.room_id for row in self.rows if row.membership == "join"]
        wanted += [row.room_id for row in {row.room_id: row for row in (*others, *left)}.values()]
        wanted += devices.left_key_rooms(self.before, self.rows) if request.e2ee else []
        found, changes, (inbox, key_counts, _) = concurrency.gather(
            functools.partial(self._rooms, wanted),
            functools.partial(account.changes, self.look.first, to_device=False, keys=False),
            functools.partial(self._read_device, since, beside),
        )
        self.found: Mapping[str, Room] = found
        self._take_user_stream(changes)
        if inbox is not None:
            self._add_messages(inbox)
        if request.e2ee:
            self._add_keys(key_counts, changes.own_devices)
        sight = lists.in_sight(request, self.rows, found, self.direct)
        self.answer.counts = state.counts = sight.counts
        self.answer.is_new |= self.before is not None and self.before.counts != sight.counts
        budget = Budget(
            max(LEAST_ROOM_BYTES, LIST_BYTES - RESERVED_BYTES - json_bytes(self.answer.extensions))
        )
        self._add_rooms(sight, budget)
        self._add_others(sight, left, budget)
        self._forget_gone()
        self.answer.is_new |= bool(self.answer.rooms)
        return self.answer

    def _is_told(self, row: Membership) -> bool:
        return self.state.positions.others.get(self.ctx.hash(row.room_id)) == mark(row.event_id)

    def _rooms(self, room_ids: Sequence[RoomId]) -> dict[str, Room]:
        heads = room_items.read_heads(room_ids, eventual=self.late)
        return {name: Room(head) for name, head in heads.items()}

    def _read_device(
        self, since: int, beside: Sequence[Callable[[], object]]
    ) -> tuple[Inbox | None, KeyCounts | None, object]:
        """Return the device's messages and key counts if they are requested, and the result of the functions
        in `beside`.
        """
        request, look = self.request, self.look
        return concurrency.gather(
            lambda: (
                devices.read_messages(look, since, request.to_device_limit) if request.to_device else None
            ),
            lambda: devices.read_key_counts(look) if request.e2ee else None,
            lambda: concurrency.parallel(*beside),
        )

    # -- The user's and the device's streams -------------------------------------------------------------

    def _take_user_stream(self, changes: account.Changes) -> None:
        """Add the account data, and record which data about rooms changed."""
        state, scope = self.state, self.request.account_data
        state.positions.user = changes.user_position
        self.answer.is_partial |= changes.user_position < self.look.facts.user_head
        self.ctx.room_data = dict(changes.by_room)
        items = list(changes.account_items)
        if scope is None:
            if items:
                state.account_data_from = ""
        elif state.account_data_from is not None:
            first = state.account_data_from
            stored, state.account_data_from = account_data.read_account(
                self.ctx.user_id, first, account.ACCOUNT_BYTES
            )
            items = [*stored, *items]
            self._add_account_data(replace(changes, account_items=items), is_first=first == "")
            self.answer.is_partial |= state.account_data_from is not None
        else:
            self._add_account_data(changes, is_first=False)

    def _add_account_data(self, changes: account.Changes, *, is_first: bool) -> None:
        """Add account data. A first answer has the push rules even if the user never changed them."""
        ctx = replace(self.ctx, base=None) if is_first else self.ctx
        if events := account.account_events(ctx, changes):
            self.answer.extensions.setdefault("account_data", {})["global"] = events
            self.answer.is_new = True

    def _add_messages(self, inbox: Inbox) -> None:
        self.answer.extensions["to_device"] = devices.messages_section(inbox)
        self.state.positions.unacknowledged = bool(inbox.events)
        self.answer.is_new |= bool(inbox.events)

    def _add_keys(self, counts: KeyCounts | None, own_devices: set[UserId]) -> None:
        """Add changed devices and key counts. They count as updates if they differ from the last answer's."""
        positions = self.state.positions
        follows = self.before is not None and self.before.key_rooms is not None
        if counts is not None:
            before = positions.one_time_keys, positions.fallback_keys
            positions.one_time_keys, positions.fallback_keys = counts
            positions.device = self.look.facts.device_head
            self.answer.is_new |= follows and before != counts
        found: DeviceLists = devices.device_changes(self.ctx, self.state, self.rows, self.found, own_devices)
        self.answer.is_new |= bool(found.changed or found.left)
        self.answer.extensions["e2ee"] = devices.keys_section(self.state, found)
        self.answer.is_partial |= devices.is_behind(self.ctx, self.state, self.rows, self.found)
        if devices.has_unsettled(self.rows, self.found):
            self.answer.again_ms = self.ctx.now_ms + SETTLING_MS

    # -- Joined rooms ------------------------------------------------------------------------------------

    def _add_rooms(self, sight: InSight, budget: Budget) -> None:
        """Add the visible joined rooms. Those that don't fit are left for the next answer, which comes at
        once.
        """
        self._note_rules()
        rows: dict[str, Membership] = {row.room_id: row for row in self.rows if row.membership == "join"}
        told: set[str] = set()
        looks: list[tuple[Room, Membership, Asked]] = []
        for room_id, wish in sight.wishes.items():
            row, room = rows.get(room_id), self.found.get(room_id)
            if row is None or room is None:
                self.answer.is_partial |= row is not None
                continue
            asked = self._asked(room, wish)
            if room.head.unsettled is not None:
                self.answer.again_ms = self.ctx.now_ms + SETTLING_MS
            elif rooms.needs_look(self.ctx, room, row, asked, self.state):
                looks.append((room, row, asked))
        for start in range(0, len(looks), ROOMS_AT_ONCE):
            if start and time.monotonic() - self.began > LONGEST_S:
                self._leave_rest()
                break
            some = looks[start : start + ROOMS_AT_ONCE]
            if not self._add_some(some, told, budget):
                break
        self._note_untold(told)

    def _asked(self, room: Room, wish: Wish) -> Asked:
        name = self.ctx.hash(room.room_id)
        shown = self.state.shown.get(name)
        known = self.state.configs.get(shown.config, "[]") if shown is not None else "[]"
        return Asked(
            wish=wish,
            shown=shown,
            known=required_state.load(known),
            is_direct=room.room_id in self.direct,
            with_receipts=_has(self.request.receipts, wish, room.room_id),
            with_typing=_has(self.request.typing, wish, room.room_id),
            with_data=_has(self.request.account_data, wish, room.room_id),
            is_merged=self.request.is_merged,
            told_ms=self.before.written_ms if self.before is not None else None,
        )

    def _add_some(
        self, some: Sequence[tuple[Room, Membership, Asked]], told: set[str], budget: Budget
    ) -> bool:
        """Add some rooms. Returns whether more may fit."""
        new = [(room, asked) for room, row, asked in some if self._is_unknown(room, row, asked)]
        about = [
            room.room_id for room, row, asked in some if asked.with_data and self._is_behind(room, row, asked)
        ]
        data, ahead = concurrency.gather(
            functools.partial(account_data.read_about_rooms, self.ctx.user_id, about),
            functools.partial(rooms.read_ahead, self.ctx, new),
        )
        self.ctx.room_data = {**self.ctx.room_data, **data}
        prepared = {room.room_id: asked for (room, _), asked in zip(new, ahead, strict=True)}
        some = [(room, row, prepared.get(room.room_id, asked)) for room, row, asked in some]
        parts = concurrency.parallel(
            *(functools.partial(rooms.joined_room, self.ctx, *each) for each in some)
        )
        for (room, _, asked), part in zip(some, parts, strict=True):
            if part is None:
                self.answer.is_partial = True
                continue
            if not budget.take(json_bytes([part.section, part.receipts, part.account_data])):
                self._leave_rest()
                return False
            told.add(room.room_id)
            self._add_part(room, asked, part)
        return True

    def _leave_rest(self) -> None:
        """Leave rooms for the next answer, which comes at once."""
        self.answer.is_new = self.answer.is_partial = True

    def _is_unknown(self, room: Room, row: Membership, asked: Asked) -> bool:
        return asked.shown is None or joined.known_position(self.ctx, room, row) is None

    def _is_behind(self, room: Room, row: Membership, asked: Asked) -> bool:
        return self._is_unknown(room, row, asked) or (asked.shown is not None and asked.shown.is_behind)

    def _add_part(self, room: Room, asked: Asked, part: RoomPart) -> None:
        """Add a joined room's part. The room moves to the end of the order in which rooms were shown."""
        name, state = self.ctx.hash(room.room_id), self.state
        config = part.config
        state.forget(name)
        state.positions.rooms[name] = part.position
        state.shown[name] = replace(
            part.shown,
            config=state.config_number(required_state.dump(config)),
            is_behind=not asked.with_data and (part.shown.is_behind or room.room_id in self.ctx.room_data),
        )
        state.positions.others.pop(name, None)
        if part.typing_until_ms:
            state.positions.typing_until_ms[name] = part.typing_until_ms
        if part.section is not None:
            self.answer.rooms[room.room_id] = part.section
        for extension, content in (
            ("receipts", part.receipts),
            ("typing", part.typing),
            ("account_data", part.account_data),
        ):
            if content is not None:
                self.answer.for_rooms(extension)[room.room_id] = content
                self.answer.is_new = True

    def _note_rules(self) -> None:
        """Find the rooms whose unread events must be counted again, because push rules have changed."""
        positions = self.state.positions
        counted_by = rule_digests.digests_of(self.ctx.user_id, self.ctx.push_changes, self.ctx.ignored)
        outdated = rule_digests.outdated(positions.counted_by, counted_by)
        before = frozenset(name for name, shown in self.state.shown.items() if shown.is_miscounted)
        self.ctx.outdated = Outdated(outdated.every_room, outdated.rooms | before)
        positions.counted_by = counted_by

    def _note_untold(self, told: set[str]) -> None:
        """Remember, for rooms that aren't in the answer, what changed outside of their logs."""
        hashes = {self.ctx.hash(RoomId(room_id)) for room_id in told}
        changed = {self.ctx.hash(RoomId(room_id)) for room_id in self.ctx.room_data} - hashes
        for name, shown in self.state.shown.items():
            miscounted = name not in hashes and self.ctx.outdated.has(name)
            behind = shown.is_behind or name in changed
            if (behind, miscounted) != (shown.is_behind, shown.is_miscounted):
                self.state.shown[name] = replace(shown, is_behind=behind, is_miscounted=miscounted)

    # -- Other rooms -------------------------------------------------------------------------------------

    def _add_others(self, sight: InSight, left: Sequence[Membership], budget: Budget) -> None:
        """Add visible invites and knocks, rooms from which others removed the user, and rooms that the user
        left.
        """
        kept: dict[str, Membership] = {row.room_id: row for row in self.rows if row.membership != "join"}
        in_sight = [kept[room_id] for room_id in sight.wishes if room_id in kept]
        rows = {row.room_id: row for row in (*left, *in_sight) if not self._is_told(row)}
        for row in rows.values():
            section = self._other_section(row, sight.wishes.get(row.room_id))
            if section is None:
                self.answer.is_partial = True
                continue
            if not budget.take(json_bytes(section)):
                self._leave_rest()
                break
            if self.request.is_merged:
                section |= rooms.merged_fields(row, sight.wishes.get(row.room_id))
            name = self.ctx.hash(row.room_id)
            self.answer.rooms[row.room_id] = section
            self.state.forget(name)
            self.state.positions.others[name] = mark(row.event_id)

    def _other_section(self, row: Membership, wish: Wish | None) -> RoomSection | None:
        """Return the section of a room that the user isn't in; None to leave it for the next look."""
        room, is_merged = self.found.get(row.room_id), self.request.is_merged
        if row.membership in ("invite", "knock"):
            return other_rooms.from_outside(self.ctx, room, row, is_merged=is_merged)
        if row.is_outside:
            return other_rooms.left_outside(row, is_merged=is_merged)
        if room is None or (self.late and room.head.ordinal < (row.ordinal or 0)):
            return None
        required, limit = (wish.required, wish.timeline_limit) if wish is not None else ((), 1)
        told_ms = self.before.written_ms if self.before is not None else None
        is_known = self.ctx.hash(row.room_id) in self.state.positions.others
        return other_rooms.left_room(self.ctx, room, row, required, limit, told_ms, is_known=is_known)

    def _forget_gone(self) -> None:
        """Forget rooms in which the user has no membership any more."""
        kept = {self.ctx.hash(row.room_id) for row in self.look.facts.memberships}
        positions = self.state.positions
        for name in [each for each in positions.rooms if each not in kept]:
            self.state.forget(name)
        positions.others = {name: value for name, value in positions.others.items() if name in kept}


def _has(scope: RoomScope | None, wish: Wish, room_id: RoomId) -> bool:
    return scope is not None and scope.has(wish.lists, room_id, is_subscribed=wish.is_subscribed)


def _direct_rooms(content: Content) -> set[str]:
    """Return the rooms that the user's m.direct lists."""
    return {
        room_id
        for room_ids in content.values()
        if isinstance(room_ids, list)
        for room_id in room_ids
        if isinstance(room_id, str)
    }
