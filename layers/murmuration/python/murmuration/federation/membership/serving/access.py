"""Decides which rooms another server may ask about for its users."""

from __future__ import annotations

from collections.abc import Mapping

from murmuration.federation.inbound import acls
from murmuration.federation.inbound.elsewhere import Pdu, StateIds
from murmuration.federation.keys.fetching import verify_keys
from murmuration.protocol.errors import Forbidden, InvalidParam, NotFound
from murmuration.protocol.event_types import CREATE_KEY, SERVER_ACL_KEY
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import (
    RoomId,
    ServerName,
    UserId,
    is_valid_user_id,
    server_of,
)
from murmuration.protocol.pdus.keys import KeyRing
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.room import Room
from murmuration.rooms.writing.settling import settle


class KeysAlone:
    """`RemoteServers` for an event that refers only to known events: it fetches nothing but keys."""

    def keys(self, wanted: Mapping[tuple[ServerName, str], int]) -> KeyRing:
        return verify_keys(wanted)

    def auth_chain(self, event: Event) -> list[Pdu]:  # noqa: ARG002 - nothing is fetched
        return []

    def events_between(self, event: Event, known: object) -> list[Pdu]:  # noqa: ARG002 - nothing is fetched
        return []

    def state_ids_before(self, event: Event) -> StateIds | None:  # noqa: ARG002 - nothing is fetched
        return None

    def state_events(self, event: Event, event_ids: object) -> list[Pdu]:  # noqa: ARG002 - nothing is fetched
        return []


def asked_room(origin: ServerName, room_id: RoomId) -> Room:
    """Return the current room that another server asks about.

    Raises NotFound for a room that isn't known or has no local user, Forbidden for a server that the room's
    ACL denies, and for a room without federation.
    """
    if not fits_id(room_id):
        raise NotFound("No room has so long a name")
    room = settle(Room.load(room_id))
    room.require_residency()
    create = room.events([CREATE_KEY, SERVER_ACL_KEY]).get(CREATE_KEY)
    require_acl(origin, room)
    if create is None or create.content.get("m.federate") is False:
        raise Forbidden("This room is for users of one server only")
    return room


def require_acl(server_name: ServerName, room: Room) -> None:
    """Raise Forbidden if the room's ACL denies the server."""
    if not acls.is_allowed(room, server_name):
        raise Forbidden(f"{server_name} is not allowed in this room")


def require_own_user(origin: ServerName, user_id: UserId) -> None:
    """Raise InvalidParam if it isn't a user ID, Forbidden if the user doesn't belong to `origin`."""
    if not is_valid_user_id(user_id):
        raise InvalidParam("That is not a user ID")
    if server_of(user_id) != origin:
        raise Forbidden("A server asks for its own users only")
