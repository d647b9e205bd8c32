"""`View`: a room as one user sees it, and whether they may see it at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from murmuration.aws.reads import Batch
from murmuration.identity.authentication import verify
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.errors import InvalidParam, MatrixError, NotFound
from murmuration.protocol.event_types import HISTORY_VISIBILITY, IGNORED_USERS
from murmuration.protocol.events import StateKey
from murmuration.protocol.visibility import visibility_of
from murmuration.rooms.lookup import find_entry, fits_id
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.reading.pagination import parse_position, resolve_token
from murmuration.rooms.reading.visibility import (
    STILL_JOINED,
    Seen,
    Viewer,
    ignored_users,
    make_viewer,
    seen_by,
)
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import LogEntry, StateEntry
from murmuration.storage.users import account_data, accounts, memberships
from murmuration.storage.users.memberships import Membership

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId


@dataclass(frozen=True, slots=True)
class View:
    """A user's view of a room. `state` is the current state that was read with it."""

    requester: Requester
    room: Room
    viewer: Viewer
    membership: Membership | None
    state: Mapping[StateKey, StateEntry] = field(default_factory=dict)

    def is_world_readable(self) -> bool:
        """Return whether anyone may read the room now."""
        event = self.room.event(HISTORY_VISIBILITY)
        return visibility_of(event.content if event else None) == "world_readable"

    def require_reading(self) -> None:
        """Raise Forbidden unless the user is or was in the room, or anyone may read it."""
        if self.viewer.joined_until is None and not self.is_world_readable():
            raise unknown_room(self.room.room_id)

    def require_joined(self) -> None:
        """Raise Forbidden unless the user is in the room."""
        if not self.viewer.is_joined:
            raise unknown_room(self.room.room_id)

    def horizon(self) -> int:
        """Return the ordinal of the last event that the user may see. Raises Forbidden."""
        until = self.viewer.joined_until
        if until == STILL_JOINED or self.is_world_readable():
            return self.room.head.ordinal
        if until is None:
            raise unknown_room(self.room.room_id)
        return until

    def position(self, token: str, parse: Callable[[str], int] = parse_position) -> int:
        """Return the position in the timeline that a token names. `parse` reads pagination tokens.

        For users outside of the room, a sync token means the last position that they may see. Raises
        InvalidParam, Forbidden.
        """
        position = resolve_token(token, self.requester, self.room.room_id, parse)
        if position is not None:
            return position
        if self.viewer.is_joined:
            raise InvalidParam("The token says nothing about this room")
        return self.horizon()

    def departure(self) -> LogEntry | None:
        """Return the event with which the user left, because they may not see later state. None for members.

        Raises Forbidden for users who never were in the room, unless anyone may read it.
        """
        self.require_reading()
        until = self.viewer.joined_until
        if until is None or until == STILL_JOINED:
            return None
        room = self.room
        return room_items.read_log_entries([(room.room_id, until)], {room.room_id: room.version})[0]

    def see(self, entries: Sequence[LogEntry]) -> list[Seen]:
        """Return the room's events that the user may see."""
        return seen_by(self.viewer, entries)

    def find(self, event_id: EventId) -> Seen:
        """Return one event. Raises NotFound if there is none, or the user may not see it."""
        entry = find_entry(self.room, event_id)
        for seen in self.see([entry] if entry is not None else []):
            return seen
        raise NotFound("There is no such event in this room, or you may not see it")


def open_view(
    token: AccessToken,
    room_id: RoomId,
    *,
    pairs: Iterable[StateKey] = (),
    otherwise: type[MatrixError] | None = None,
) -> View:
    """Verify `token` and return the user's view of the room.

    This takes one read, or more for users who left the room. `pairs` are state events to read together with
    it. Raises UnknownToken, and Forbidden or `otherwise` for an unknown room.
    """
    batch = Batch()
    device = batch.add(accounts.device_read(token.key))
    ignored = batch.add(account_data.content_read(token.user_id, "", IGNORED_USERS))
    if not fits_id(room_id):
        batch.fetch()
        verify(token, device.value)
        raise _unknown(room_id, otherwise)
    membership = batch.add(memberships.membership_read(token.user_id, room_id))
    head = batch.add(room_items.head_read(room_id))
    state = batch.add_all(room_items.stored_state_read(room_id, pair) for pair in pairs)
    batch.fetch()
    requester = verify(token, device.value)
    if head.value is None:
        raise _unknown(room_id, otherwise)
    room = Room(head.value)
    viewer = make_viewer(
        requester.user_id,
        requester.device_id,
        membership.value,
        room.version,
        ignored=ignored_users(ignored.value),
        erasures=room.head.erasures,
    )
    entries = [answer.value(room.version) for answer in state if answer.value is not None]
    return View(requester, room, viewer, membership.value, by_pair(entries))


def _unknown(room_id: RoomId, otherwise: type[MatrixError] | None) -> MatrixError:
    return otherwise("There is no such room") if otherwise else unknown_room(room_id)


def by_pair(entries: Iterable[StateEntry]) -> dict[StateKey, StateEntry]:
    """Return state events by their type and state key."""
    return {pair: entry for entry in entries if (pair := entry.event.state_pair) is not None}
