"""Invites of local users to other servers' rooms.

The event is checked to be an invite before this server signs it. If this server isn't in the room, the user
gets a membership row; otherwise the invite arrives with the room's events.
https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.federation.membership import outside, stripped
from murmuration.federation.membership.serving.access import require_acl
from murmuration.federation.membership.serving.taking import check_signed, checked_event
from murmuration.identity import rate_limits
from murmuration.protocol.bodies import Fields, object_of, required
from murmuration.protocol.encoding.shapes import Body, EventFields
from murmuration.protocol.errors import (
    Forbidden,
    IncompatibleRoomVersion,
    InvalidParam,
    UnsupportedRoomVersion,
)
from murmuration.protocol.events import Event
from murmuration.protocol.pdus.signing import sign_event
from murmuration.protocol.room_versions import RoomVersion, get_room_version
from murmuration.rooms.membership.invitees import check_takes_invites
from murmuration.rooms.room import Room
from murmuration.server_keys import signing_key
from murmuration.settings import settings
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.member_index import is_local_id
from murmuration.storage.users import accounts
from murmuration.storage.users.memberships import Membership

if TYPE_CHECKING:
    from murmuration.federation.shapes import EventAnswer
    from murmuration.protocol.encoding.shapes import StrippedState
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName
    from murmuration.protocol.pdus.shapes import Pdu


def invite(origin: ServerName, room_id: RoomId, event_id: EventId, body: Body) -> EventAnswer:
    """Accept an invite of version 2 of the API. Returns the event with this server's signature.

    Raises InvalidParam, MissingParam, BadJson, IncompatibleRoomVersion, Forbidden, InviteBlocked,
    LimitExceeded.
    """
    fields = Fields(dict(body))
    version_id = fields.string("room_version")
    pdu = object_of(required(body, "event"), "event")
    try:
        version = get_room_version(version_id)
    except UnsupportedRoomVersion as error:
        raise IncompatibleRoomVersion(error.message, room_version=version_id[:50]) from error
    return {"event": _invite(origin, room_id, event_id, pdu, version, body.get("invite_room_state"))}


def invite_v1(origin: ServerName, room_id: RoomId, event_id: EventId, pdu: EventFields) -> list[object]:
    """Accept an invite of version 1 of the API, which only rooms of versions 1 and 2 use. Raises what
    `invite` raises.
    """
    unsigned = pdu.get("unsigned")
    state = unsigned.get("invite_room_state") if isinstance(unsigned, dict) else None
    return [200, {"event": _invite(origin, room_id, event_id, pdu, get_room_version("1"), state)}]


def _invite(
    origin: ServerName,
    room_id: RoomId,
    event_id: EventId,
    pdu: EventFields,
    version: RoomVersion,
    state: object,
) -> Pdu:
    rate_limits.check("federation_membership", origin)
    event = checked_event(dict(pdu), version, room_id, event_id, "invite")
    if event.sender_server != origin:
        raise InvalidParam("The sender is not a user of your server")
    if not is_local_id(event.state_key):
        raise InvalidParam("The invited user is not one of this server")
    check_signed(event)
    user_id = event.member_id
    account = accounts.read_account(user_id)
    if account is None or "deactivated_ms" in account:
        raise Forbidden("There is no such user here")
    check_takes_invites(user_id)
    head = room_items.read_head(room_id)
    if head is None or not head.is_resident:
        shown = stripped.received_state(state, version, room_id)
        _record(origin, event, shown)
    else:
        room = Room(head)
        require_acl(origin, room)
        if not room.federates:
            raise Forbidden("This room is for users of one server only")
    signed = sign_event(event.pdu, settings().server_name, signing_key(), version)
    unsigned = pdu.get("unsigned")
    if isinstance(unsigned, dict):
        signed["unsigned"] = unsigned
    return signed


def _record(origin: ServerName, event: Event, state: list[StrippedState]) -> None:
    """Store the invite for the invited user. Raises LimitExceeded, so that no server can flood a user with
    invites.
    """
    rate_limits.check("federation_invite", f"{origin}|{event.state_key}")

    def make(before: Membership | None) -> Membership | None:
        if before is not None and (before.event_id == event.event_id or before.membership == "join"):
            return None
        return outside.outside_row(event, "invite", state, [origin])

    outside.record(event.member_id, event.room_id, make)
