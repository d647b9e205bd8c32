"""Rooms in a sliding sync that the user isn't in: invites, knocks, and rooms that they left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.filters import EventFilter
from murmuration.protocol.sliding import required_state
from murmuration.protocol.sliding.required_state import Required
from murmuration.rooms.reading import client_events, pagination, past_state
from murmuration.rooms.room import Room
from murmuration.sliding_sync.lists import activity_ms
from murmuration.sliding_sync.room_state import members_needed
from murmuration.sliding_sync.rooms import is_live, names_of
from murmuration.storage.users.memberships import Membership
from murmuration.sync import joined
from murmuration.sync.context import Context
from murmuration.sync.other_rooms import last_window, state_root_at, without_erased

if TYPE_CHECKING:
    from murmuration.sliding_sync.json_types import RoomSection

LEAST_TIMELINE = 1
"""The leave event of a room is always shown, whatever limit the request has."""


def from_outside(ctx: Context, room: Room | None, row: Membership, *, is_merged: bool) -> RoomSection:
    """Return the section of an invite or a knock."""
    row = without_erased(ctx, room, row)
    section: RoomSection = {"initial": True, "bump_stamp": activity_ms(row, None)}
    if is_merged:
        section["stripped_state"] = list(row.stripped_state)
    else:
        section["invite_state"] = list(row.stripped_state)
    return section


def left_outside(row: Membership, *, is_merged: bool) -> RoomSection:
    """Return the section of a room that this server isn't in, after an invite or a knock has ended."""
    events = [] if row.forgotten else [event for event in row.stripped_state if "event_id" in event]
    section: RoomSection = {"bump_stamp": activity_ms(row, None)}
    if is_merged:
        section["stripped_state"] = events
    else:
        section |= {"required_state": events, "timeline": events, "limited": False, "num_live": len(events)}
    return section


def left_room(
    ctx: Context,
    room: Room,
    row: Membership,
    required: Required,
    limit: int,
    told_ms: int | None,
    *,
    is_known: bool,
) -> RoomSection:
    """Return the section of a room that the user left or was removed from, with the events up to then.

    If the user was in the room and the client doesn't know it, the section has the state of that time.
    `told_ms` is when the connection's last answer was made; None for its first. `is_known` says that the
    client already knows that the user isn't joined, for example because of a kick before a ban: then the room
    isn't shown as new.
    """
    position = ctx.position(room.room_id)
    after = position.ordinal if position is not None else None
    wanted = EventFilter(limit=max(limit, LEAST_TIMELINE))
    viewer, window = last_window(ctx, room, row, after, wanted)
    window, events = joined.fitting_timeline(ctx, viewer, window)
    own = joined.own_pair(ctx)
    state: dict[StateKey, Event] = {
        pair: entry.event
        for entry in window.entries
        if (pair := entry.event.state_pair) is not None
        and (pair == own or required_state.admits(required, pair))
    }
    section: RoomSection = {}
    if position is None and (row.previous == "join" or not is_known):
        section["initial"] = True
        if viewer.joined_until is not None:
            needed = [own]
            if required_state.is_lazy(required):
                needed += [(MEMBER, user_id) for user_id in members_needed(window)]
            left_in = _state_at_leaving(room, viewer.joined_until, required, needed)
            section |= names_of(left_in, viewer)
            state = {
                pair: event
                for pair, event in left_in.items()
                if pair in needed or required_state.admits(required, pair)
            } | {pair: event for pair, event in state.items() if pair == own}
    section.update(
        {
            "timeline": events,
            "limited": window.limited,
            "num_live": sum(is_live(entry, position, told_ms) for entry in window.entries),
            "prev_batch": pagination.position_token(window.before_first),
            "required_state": [
                client_events.state_event(event, viewer, with_room_id=False) for event in state.values()
            ],
            "bump_stamp": activity_ms(row, None),
        }
    )
    return section


def _state_at_leaving(
    room: Room, left_at: int, required: Required, needed: Iterable[StateKey]
) -> dict[StateKey, Event]:
    """Return the room's state after the event at the ordinal `left_at`, which ended the user's last stay.

    It has only required and `needed` members.
    """
    members = required_state.members_of(required)
    if members is not None:
        members |= {user_id for event_type, user_id in needed if event_type == MEMBER}
    root, before = state_root_at(room, left_at + 1)
    return past_state.full_state(room, root, before, members=members)
