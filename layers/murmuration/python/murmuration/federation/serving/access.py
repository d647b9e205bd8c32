"""Decides whether a server may ask about a room, and about the events that its request names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.federation.inbound import acls
from murmuration.identity import rate_limits
from murmuration.protocol.errors import Forbidden, NotFound
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.room import Room
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.rooms.event_store import StoredEvent

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName


def open_room(room_id: RoomId, origin: ServerName) -> Room:
    """Return the room, for a server that is in it now. Two or three reads, the second kept by state.

    Raises NotFound for a room that this server isn't in, Forbidden for a server that isn't, or that the
    room's ACL denies.
    """
    if not fits_id(room_id):
        raise NotFound("There is no such room")
    room = Room.load(room_id)
    room.require_residency()
    if not room.is_server_joined(origin):
        raise Forbidden("Your server is not in the room")
    if not acls.is_allowed(room, origin):
        raise Forbidden("The room's access control list denies your server")
    return room


def open_event(event_id: EventId, origin: ServerName) -> tuple[Room, StoredEvent]:
    """Return an event and its room, for a server that is in the room. Raises NotFound, Forbidden."""
    room_id = room_items.read_room_of(event_id) if fits_id(event_id) else None
    if room_id is None:
        raise NotFound("There is no such event")
    room = open_room(room_id, origin)
    return room, find_event(room, event_id)


def find_event(room: Room, event_id: EventId) -> StoredEvent:
    """Return an event of the room, if it isn't a rejected one. Raises NotFound."""
    found = event_store.read([event_id], room.version, room.room_id) if fits_id(event_id) else {}
    stored = found.get(event_id)
    if stored is None or stored.room_id != room.room_id or stored.kind == "rejected":
        raise NotFound("There is no such event in this room")
    return stored


def take_state_request(origin: ServerName) -> None:
    """Take a request that needs many reads from the server's rate limit. Raises LimitExceeded."""
    rate_limits.check("federation_state", origin)


def find_placed_event(room: Room, event_id: EventId) -> StoredEvent:
    """Return an event of the room whose state before it is known, as `find_event` does. Raises NotFound."""
    stored = find_event(room, event_id)
    if not stored.is_placed:
        raise NotFound("The state before this event is not known")
    return stored
