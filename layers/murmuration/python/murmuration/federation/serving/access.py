"""Decides whether a server may ask about a room, and about the events that its request names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from murmuration.aws.reads import fetch_all
from murmuration.federation.inbound import acls
from murmuration.identity import rate_limits
from murmuration.protocol.errors import Forbidden, NotFound
from murmuration.protocol.event_types import SERVER_ACL_KEY
from murmuration.protocol.identifiers import EventId
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.reading import summaries
from murmuration.rooms.room import Room, prefetch
from murmuration.storage.rooms import event_places, event_store, member_index, room_items
from murmuration.storage.rooms.event_store import StoredEvent

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName


MOST_ALLOWED = 20
"""How many of the rooms in a join rule are checked for the server's members."""


def open_room(room_id: RoomId, origin: ServerName) -> Room:
    """Return the room, for a server that is in it now. Two or three reads; the second is cached for each
    state.

    Raises NotFound for a room that this server isn't in, Forbidden for a server that isn't in it or that the
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
    room_id = event_places.read_room_of(event_id) if fits_id(event_id) else None
    if room_id is None:
        raise NotFound("There is no such event")
    room = open_room(room_id, origin)
    return room, find_event(room, event_id)


def find_event(room: Room, event_id: EventId) -> StoredEvent:
    """Return an event of the room, unless it is a rejected one. Raises NotFound."""
    found = event_store.read([event_id], room.version, room.room_id) if fits_id(event_id) else {}
    stored = found.get(event_id)
    if stored is None or stored.room_id != room.room_id or stored.kind == "rejected":
        raise NotFound("There is no such event in this room")
    return stored


def take_state_request(origin: ServerName) -> None:
    """Count a request that needs many reads against the server's rate limit. Raises LimitExceeded."""
    rate_limits.check("federation_state", origin)


def find_placed_event(room: Room, event_id: EventId) -> StoredEvent:
    """Return an event of the room, as `find_event` does, if the state before it is known. Raises NotFound."""
    stored = find_event(room, event_id)
    if not stored.is_placed:
        raise NotFound("The state before this event is not known")
    return stored


# -- Servers that need not be in the room ------------------------------------------------------------------


def open_known_room(room_id: RoomId, origin: ServerName) -> Room:
    """Return a room that users of `origin` may see or join (`may_know`).

    Raises NotFound for another room and for one that this server isn't in, Forbidden for a server that the
    room's ACL denies.
    """
    room = load_rooms([room_id]).get(room_id)
    if room is None:
        raise NotFound("There is no such room")
    if not acls.is_allowed(room, origin):
        raise Forbidden("The room's access control list denies your server")
    if not may_know(room, origin):
        raise NotFound("There is no such room")
    return room


def load_rooms(room_ids: Iterable[RoomId]) -> dict[str, Room]:
    """Return those rooms that this server is in, with the state that `may_know` needs. Two round trips."""
    wanted = [room_id for room_id in dict.fromkeys(room_ids) if fits_id(room_id)]
    heads = fetch_all([room_items.head_read(room_id) for room_id in wanted])
    rooms = {str(head.room_id): Room(head) for head in heads if head is not None and head.is_resident}
    prefetch(list(rooms.values()), [*summaries.SUMMARISED, SERVER_ACL_KEY])
    return rooms


def may_know(room: Room, origin: ServerName) -> bool:
    """Return whether a user of `origin` may see or join the room, or is in it or invited to it.

    They may join a restricted room if a user of `origin` is in one of the rooms whose members may join.
    """
    if not room.federates:
        return False
    if summaries.is_open(room):
        return True
    if member_index.read_of_server(room.head, origin, limit=1):
        return True
    allowed = [each for each in dict.fromkeys(summaries.allowed_of(room)) if fits_id(each)][:MOST_ALLOWED]
    heads = fetch_all([room_items.head_read(room_id) for room_id in allowed])
    return any(Room(head).is_server_joined(origin) for head in heads if head is not None and head.is_resident)
