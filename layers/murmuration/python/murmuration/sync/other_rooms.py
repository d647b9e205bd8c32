"""The rooms that a user isn't in: invites, knocks, and rooms that they left."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.filters import EventFilter
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms import current_state
from murmuration.rooms.reading import pagination, past_state
from murmuration.rooms.reading.erasures import stripped_copy
from murmuration.rooms.reading.past_state import Past
from murmuration.rooms.reading.visibility import Seen, Viewer, seen_by
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import mark
from murmuration.storage.rooms.room_items import LogEntry
from murmuration.storage.users.memberships import Membership
from murmuration.sync import timeline
from murmuration.sync.context import Context
from murmuration.sync.joined import fitting_timeline, room_account_data, state_section

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.sync.readers.json_types import RoomSection


@dataclass(frozen=True, slots=True)
class OtherRooms:
    """Changed memberships by kind."""

    invited: Sequence[Membership]
    knocked: Sequence[Membership]
    left: Sequence[Membership]

    @property
    def outside(self) -> list[Membership]:
        """The invites and knocks: rooms that the user sees from outside."""
        return [*self.invited, *self.knocked]


def changed(ctx: Context, rows: Sequence[Membership]) -> OtherRooms:
    """Return the memberships, other than joined ones, that the client hasn't been shown.

    Rooms left before a first sync are included only if the filter asks for them; forgotten ones aren't even
    then.
    """
    known = ctx.base.others if ctx.base is not None else {}
    new = [row for row in rows if known.get(ctx.hash(row.room_id)) != mark(row.event_id)]
    new = [row for row in new if ctx.filter.room.admits_room(row.room_id)]
    show_left = ctx.base is not None or ctx.filter.room.include_leave
    return OtherRooms(
        invited=[row for row in new if row.membership == "invite"],
        knocked=[row for row in new if row.membership == "knock"],
        left=[
            row
            for row in new
            if row.membership in ("leave", "ban") and show_left and not (row.forgotten and ctx.base is None)
        ],
    )


def without_erased(ctx: Context, room: Room | None, row: Membership) -> Membership:
    """Return an invite or knock with erased users' events in its stripped state redacted."""
    if room is None or not room.head.erasures:
        return row
    hidden = ctx.viewer(row, room).hidden_senders(row.room_id)
    return replace(row, stripped_state=stripped_copy(row.stripped_state, hidden, room.version))


def stripped_room(row: Membership, section: str) -> RoomSection:
    """Return the section of an invite or knock: its stripped state."""
    return {section: {"events": list(row.stripped_state)}}


def left_outside(ctx: Context, row: Membership) -> RoomSection:
    """Return the section of a room that this server isn't in, after an invite or a knock has ended."""
    events = [event for event in row.stripped_state if "event_id" in event]
    return {
        "timeline": {"events": [] if row.forgotten else events, "limited": False},
        ctx.state_after or "state": {"events": []},
        "account_data": {"events": room_account_data(ctx, row.room_id)},
    }


@dataclass(frozen=True, slots=True)
class _Departure:
    """The data of a room that the user left, up to the ordinal `end`.

    `state` is known already; `past` has still to be read.
    """

    room: Room
    end: int
    viewer: Viewer
    window: timeline.Window
    events: list[ClientEvent]
    state: dict[StateKey, Event]
    past: Past


def left_rooms(ctx: Context, rooms: Sequence[tuple[Room, Membership]]) -> list[RoomSection]:
    """Return the sections of rooms that the user left: what happened up to the leave event.

    For each room at most the log and the current state are read separately, in parallel. The state at the
    leave event is read for all rooms together.
    """
    found = concurrency.parallel(*(functools.partial(_look_back, ctx, *pair) for pair in rooms))
    states = past_state.states_at([each.past for each in found])
    return [_left_section(ctx, each, state) for each, state in zip(found, states, strict=True)]


def _look_back(ctx: Context, room: Room, row: Membership) -> _Departure:
    position = ctx.position(room.room_id)
    # Users who weren't in the room right before don't see its state.
    was_joined = row.previous == "join"
    is_whole = was_joined and (ctx.full_state or position is None)
    seen, current = concurrency.gather(
        functools.partial(_last_events, ctx, room, row),
        lambda: current_state.read_all(room) if is_whole else [],
        at_once=is_whole,
    )
    viewer, window, events = seen
    state: dict[StateKey, Event] = {}
    root, before = window.root, window.start
    if ctx.state_after:
        root, before, own = _state_after_leaving(room, row, window)
        state = own if was_joined else {}
    if was_joined and position is not None and not is_whole and (window.limited or ctx.state_after):
        state = timeline.state_delta(room, position.ordinal, root) | state
    rest = [entry for entry in current if entry.event.state_pair not in state]
    past = Past(room, root, before, rest)
    return _Departure(room, row.ordinal or room.head.ordinal, viewer, window, events, state, past)


def _last_events(
    ctx: Context, room: Room, row: Membership
) -> tuple[Viewer, timeline.Window, list[ClientEvent]]:
    position = ctx.position(room.room_id)
    after = position.ordinal if position is not None else None
    viewer, window = last_window(ctx, room, row, after, ctx.filter.room.timeline)
    window, events = fitting_timeline(ctx, viewer, window)
    return viewer, window, events


def _state_after_leaving(
    room: Room, row: Membership, window: timeline.Window
) -> tuple[NodeId, int, dict[StateKey, Event]]:
    """Return a snapshot, the ordinal before which it is, and the part of the state after the leave event that
    it lacks.
    """
    leaving = window.passed[-1] if window.passed else None
    pair = leaving.event.state_pair if leaving is not None else None
    is_plain = leaving is not None and not (leaving.resolved or leaving.is_past)
    if leaving is None or pair is None or leaving.event.event_id != row.event_id or not is_plain:
        return *state_root_at(room, (row.ordinal or room.head.ordinal) + 1), {}
    return leaving.current_root, leaving.ordinal + 1, {pair: leaving.event}


def _left_section(ctx: Context, left: _Departure, earlier: dict[StateKey, Event]) -> RoomSection:
    room, window = left.room, left.window
    state = earlier | left.state
    if not ctx.state_after:
        state |= timeline.unshown_state(window)
    shown = left.end if ctx.position(room.room_id) is None and not window.limited else None
    return {
        "timeline": {
            "events": left.events,
            "limited": window.limited,
            "prev_batch": pagination.position_token(window.before_first, shown=shown),
        },
        ctx.state_after or "state": state_section(ctx, left.viewer, state),
        "account_data": {"events": room_account_data(ctx, room.room_id)},
    }


def last_window(
    ctx: Context, room: Room, row: Membership, after: int | None, event_filter: EventFilter
) -> tuple[Viewer, timeline.Window]:
    """Return the user as a viewer of a room they left, and the entries after an ordinal that they may see.

    It ends with the user's own leave event, which is shown even if the rest of the history is hidden.
    """
    viewer = ctx.viewer(row, room)
    before = (row.ordinal or room.head.ordinal) + 1

    def visible(entries: Sequence[LogEntry]) -> list[Seen]:
        seen = {one.entry.ordinal: one for one in seen_by(viewer, entries)}
        own = {
            entry.ordinal: Seen(entry, row.membership)
            for entry in entries
            if entry.ordinal == row.ordinal and entry.event.event_id == row.event_id
        }
        both = own | seen
        return [both[entry.ordinal] for entry in entries if entry.ordinal in both]

    if row.previous != "join":
        after = before - 2
    return viewer, timeline.read_window(room, after, before, event_filter, visible)


def state_root_at(room: Room, ordinal: int) -> tuple[NodeId, int]:
    """Return the snapshot of the state right before `ordinal`, and that ordinal."""
    return timeline.root_before(room, ordinal), ordinal


def is_overlooked(room: Room | None, row: Membership, late: bool) -> bool:
    """Return whether a late look misses the room's log up to the user's leave event: then the next look shows
    it.
    """
    if row.is_outside:
        return False
    return late and (room is None or room.head.ordinal < (row.ordinal or 0))
