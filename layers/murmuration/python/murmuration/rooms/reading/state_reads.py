"""Reads a room's state and members: the current ones or, for users who left, those at the time when they
left.

https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from murmuration.identity.tokens import AccessToken
from murmuration.protocol.errors import Forbidden, InvalidParam, NotFound
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event
from murmuration.protocol.sizes import RawJson
from murmuration.rooms import current_state
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.reading.client_events import client_event, state_event, state_texts
from murmuration.rooms.reading.erasures import entry_copy
from murmuration.rooms.reading.pagination import parse_moment
from murmuration.rooms.reading.past_state import pick_state_after, state_after
from murmuration.rooms.reading.viewing import View, open_view
from murmuration.rooms.reading.visibility import seen_by
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.rooms.room_items import LogEntry
from murmuration.storage.users import memberships

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.encoding.shapes import Content
    from murmuration.protocol.identifiers import RoomId, UserId
    from murmuration.protocol.room_versions import RoomVersion

MEMBERSHIPS = ("join", "invite", "knock", "leave", "ban")


def get_room_state(token: AccessToken, room_id: RoomId) -> list[ClientEvent]:
    """Return all state events. Raises UnknownToken, Forbidden."""
    view, events = _room_state(token, room_id)
    return [state_event(event, view.viewer) for event in events]


def get_room_state_text(token: AccessToken, room_id: RoomId) -> RawJson:
    """Return all state events as JSON. Raises UnknownToken, Forbidden."""
    view, events = _room_state(token, room_id)
    return state_texts(events, view.viewer)


def _room_state(token: AccessToken, room_id: RoomId) -> tuple[View, list[Event]]:
    view = open_view(token, room_id)
    return view, list(state_after(view.room, view.departure()).values())


def get_room_state_with_key(
    token: AccessToken, room_id: RoomId, event_type: str, state_key: str, *, form: str = "content"
) -> Content | ClientEvent:
    """Return the content of a state event, or with the form "event" the whole event.

    Raises Forbidden, NotFound.
    """
    pair = (event_type, state_key)
    fits = fits_id(event_type) and (not state_key or fits_id(state_key))
    view = open_view(token, room_id, pairs=[pair] if fits else [])
    departure = view.departure()
    if departure is not None and fits:
        event = pick_state_after(view.room, departure, [pair]).get(pair)
    else:
        event = view.state[pair].event if pair in view.state else None
    if event is None:
        raise NotFound("The room has no such state")
    return dict(view.viewer.event_copy(event).content) if form == "content" else _with_unsigned(view, event)


def _with_unsigned(view: View, event: Event) -> ClientEvent:
    """Return the event in the format for clients, with the properties that only its log entry has."""
    ordinal = event_store.read_ordinals([event.event_id], view.room.room_id).get(event.event_id)
    if ordinal is None:
        return state_event(event, view.viewer)
    versions: dict[RoomId, RoomVersion] = {view.room.room_id: view.room.version}
    entries = room_items.read_log_entries([(view.room.room_id, ordinal)], versions)
    return client_event(entry_copy(entries[0], view.viewer.hidden_senders(event.room_id)), view.viewer)


def get_members(token: AccessToken, room_id: RoomId, *, at: str | None = None) -> list[ClientEvent]:
    """Return the membership events, now or at a pagination token. Raises what `get_members_text` raises."""
    view, events = _members(token, room_id, at)
    return [state_event(event, view.viewer) for event in events]


def get_members_text(
    token: AccessToken,
    room_id: RoomId,
    *,
    at: str | None = None,
    membership: str | None = None,
    not_membership: str | None = None,
) -> RawJson:
    """Return the membership events as JSON, now or at a pagination token.

    `membership` and `not_membership` select some of them. Raises UnknownToken, InvalidParam, Forbidden, also
    for a time whose state the requester may not see.
    """
    view, events = _members(token, room_id, at)
    if membership is not None or not_membership is not None:
        events = [
            event
            for event in events
            if event.membership == membership
            or (not_membership is not None and event.membership != not_membership)
        ]
    return state_texts(events, view.viewer)


def _members(token: AccessToken, room_id: RoomId, at: str | None) -> tuple[View, list[Event]]:
    view = open_view(token, room_id)
    last = view.departure()
    if at is not None:
        position = view.position(at, parse_moment)
        if position == 0 and view.room.head.oldest == 1:
            return view, []
        before = _entry_before(view, position)
        last = _no_later(last, before)
        if before is not None and last is before:
            _require_seen(view, before)
    return view, list(state_after(view.room, last, MEMBER).values())


def _entry_before(view: View, position: int) -> LogEntry | None:
    """Return the log entry right before a position; None if that is the room's newest.

    Raises InvalidParam if the position is before the room's beginning.
    """
    head = view.room.head
    if position >= head.ordinal:
        return None
    if position < head.oldest:
        raise InvalidParam("The token's position is before the beginning of the room")
    versions: dict[RoomId, RoomVersion] = {view.room.room_id: view.room.version}
    return room_items.read_log_entries([(view.room.room_id, position)], versions)[0]


def _require_seen(view: View, entry: LogEntry) -> None:
    viewer = replace(view.viewer, ignored=frozenset())
    if not entry.withheld and not seen_by(viewer, [entry]):
        raise Forbidden("You may not see who was in the room then")


def _no_later(last: LogEntry | None, entry: LogEntry | None) -> LogEntry | None:
    """Return the earlier one of two entries; None stands for now."""
    if last is None or entry is None:
        return last or entry
    return min(last, entry, key=lambda each: each.ordinal)


def get_joined_members(token: AccessToken, room_id: RoomId) -> RawJson:
    """Return the joined users' profiles as JSON (`current_state.read_joined_profiles`). Raises Forbidden."""
    view = open_view(token, room_id)
    view.require_joined()
    return current_state.read_joined_profiles(view.room)


def get_joined_rooms(user_id: UserId) -> list[str]:
    """Return the rooms that the user is joined to."""
    rows = memberships.read_memberships(user_id)
    return [row.room_id for row in rows if row.membership == "join"]
