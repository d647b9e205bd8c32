"""The rooms that a user isn't in: invites, knocks, and rooms that they left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from murmuration.protocol.filters import EventFilter
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms.reading import pagination, past_state
from murmuration.rooms.reading.erasures import stripped_copy
from murmuration.rooms.reading.visibility import Seen, Viewer, seen_by
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import mark
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import LogEntry
from murmuration.storage.users.memberships import Membership
from murmuration.sync import timeline
from murmuration.sync.context import Context
from murmuration.sync.joined import fitting_timeline, room_account_data, state_section

if TYPE_CHECKING:
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
        "state_after" if ctx.state_after else "state": {"events": []},
        "account_data": {"events": room_account_data(ctx, row.room_id)},
    }


def left_room(ctx: Context, room: Room, row: Membership) -> RoomSection:
    """Return the section of a room that the user left: what happened up to the leaving."""
    position = ctx.position(room.room_id)
    before = (row.ordinal or room.head.ordinal) + 1
    after = position.ordinal if position is not None else None
    viewer, window = last_window(ctx, room, row, after, ctx.filter.room.timeline)
    window, events = fitting_timeline(ctx, viewer, window)
    root, at = (window.root, window.start) if not ctx.state_after else state_root_at(room, before)
    state = {}
    # Who wasn't in the room right before is shown nothing of its state.
    was_joined = row.previous == "join"
    if was_joined and (ctx.full_state or position is None):
        state = past_state.full_state(room, root, at)
    elif was_joined and position is not None and (window.limited or ctx.state_after):
        state = timeline.state_delta(room, position.ordinal, root)
    if not ctx.state_after:
        state |= timeline.unshown_state(window)
    shown = before - 1 if position is None and not window.limited else None
    return {
        "timeline": {
            "events": events,
            "limited": window.limited,
            "prev_batch": pagination.position_token(window.before_first, shown=shown),
        },
        "state_after" if ctx.state_after else "state": state_section(ctx, viewer, state),
        "account_data": {"events": room_account_data(ctx, room.room_id)},
    }


def last_window(
    ctx: Context, room: Room, row: Membership, after: int | None, event_filter: EventFilter
) -> tuple[Viewer, timeline.Window]:
    """Return the user as a viewer of a room they left, and the entries after an ordinal that they may see.

    It ends with the user's own leaving, which is shown even if the rest of the history is hidden.
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
    following = room_items.read_log(room.room_id, room.version, after=ordinal - 1, before=ordinal + 1)
    return (following[0].current_root if following else room.head.state_root), ordinal


def is_overlooked(room: Room | None, row: Membership, late: bool) -> bool:
    """Return whether a late look doesn't show the room's log up to the user's leaving: the next one tells
    it.
    """
    if row.is_outside:
        return False
    return late and (room is None or room.head.ordinal < (row.ordinal or 0))
