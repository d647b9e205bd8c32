"""The writes for a change of a room's current state: the state's items, and local users' memberships."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from murmuration.aws.dynamodb import Write
from murmuration.clock import now_ms
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.reading.stripped_state import stripped_state
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.rooms.room_items import StateEntry
from murmuration.storage.users import memberships
from murmuration.storage.users.memberships import Membership

ReadState = Callable[[Iterable[StateKey]], Mapping[StateKey, Event]]
"""A function that looks up the state events with these pairs, in the state after the change."""


def state_item_write(room_id: RoomId, pair: StateKey, entry: StateEntry | None) -> Write:
    """Return the write that makes a state event current; with None, one that removes the state of
    this pair.
    """
    if entry is None:
        return room_items.state_removal(room_id, pair)
    return room_items.state_write(room_id, entry)


def membership_row_write(
    room_id: RoomId,
    user_id: UserId,
    event: Event | None,
    previous: str | None,
    ordinal: int,
    state: ReadState,
) -> Write | None:
    """Return the write of a changed membership into the local user's own row; None for users of other
    servers.

    `event` is the member event that is current from `ordinal` on (None: there is none any more), `previous`
    the membership before.
    """
    if not member_index.is_local(user_id):
        return None
    row = membership_row(user_id, event, previous, ordinal, state) if event is not None else None
    return row_write(room_id, user_id, row)


def row_write(room_id: RoomId, user_id: UserId, row: Membership | None) -> Write:
    """Return the write that stores a user's row of the room, or removes it if `row` is None."""
    if row is None:
        return memberships.removal_write(user_id, room_id)
    return memberships.membership_write(row)


def membership_row(
    user_id: UserId, event: Event, previous: str | None, ordinal: int, state: ReadState
) -> Membership:
    """Return a user's own row of a room for the member event that is current from `ordinal` on."""
    membership = event.membership or "leave"
    outside = membership in ("invite", "knock")
    return Membership(
        user_id=user_id,
        room_id=event.room_id,
        membership=membership,
        event_id=event.event_id,
        sender=event.sender,
        ordinal=ordinal,
        since=ordinal,
        previous=previous,
        stripped_state=stripped_state(state, event) if outside else (),
        changed_ms=now_ms(),
    )
