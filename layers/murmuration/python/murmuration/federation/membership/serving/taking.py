"""Accepting membership events that other servers have signed (send_join and so on).

Everything is checked before anything is signed or stored. An event that was accepted before is accepted
again, with the same outcome. https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from murmuration.federation.inbound.elsewhere import MissingEvents
from murmuration.federation.inbound.receiving import receive
from murmuration.federation.keys.fetching import verify_keys
from murmuration.federation.membership.serving.access import KeysAlone, asked_room
from murmuration.federation.membership.serving.restricted import require_condition
from murmuration.identity import rate_limits
from murmuration.protocol.errors import Forbidden, InvalidParam, MatrixError, Unavailable
from murmuration.protocol.event_types import JOIN_RULES_KEY, MEMBER
from murmuration.protocol.events import Event
from murmuration.protocol.pdus.event_format import parse_pdu
from murmuration.protocol.pdus.hashing import verify_content_hash
from murmuration.protocol.pdus.signing import sign_event
from murmuration.protocol.pdus.validation import check_signatures, keys_to_look_up
from murmuration.protocol.room_versions import RoomVersion
from murmuration.rooms.membership.operations import AUTHORISER
from murmuration.rooms.membership.restricted_joins import allowed_rooms
from murmuration.rooms.room import Room
from murmuration.server_keys import signing_key
from murmuration.settings import settings
from murmuration.storage.rooms.member_index import is_local_id

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName


def take(
    origin: ServerName,
    room_id: RoomId,
    event_id: EventId,
    pdu: object,
    membership: str,
    check_room: Callable[[Room], None] = lambda _: None,
) -> tuple[Room, Event]:
    """Accept an event in which a user of `origin` changes their own membership. Returns the room before it,
    and the event.

    If a local user authorises the join, the event gets this server's signature. `check_room` is called first
    and may raise an error. Raises NotFound, InvalidParam for a malformed or unexpected event, Forbidden if
    the room doesn't allow it, UnableToAuthoriseJoin, LimitExceeded, Unavailable.
    """
    rate_limits.check("federation_membership", origin)
    room = asked_room(origin, room_id)
    check_room(room)
    event = checked_event(pdu, room.version, room_id, event_id, membership)
    if event.state_key != event.sender:
        raise InvalidParam("The state_key is not the sender")
    if event.sender_server != origin:
        raise InvalidParam("The sender is not a user of your server")
    check_signed(event)
    event = _vouched_for(room, event)
    try:
        received = receive(room_id, event.pdu, KeysAlone(), relayed=True)
    except MissingEvents as error:
        raise InvalidParam("The event refers to events that are not known here") from error
    if received.undecided:
        raise Unavailable("The room's policy server gave no answer; try again later")
    if received.kind != "accepted":
        raise Forbidden(received.reason or "The room does not allow the event")
    return room, event


def checked_event(
    pdu: object, version: RoomVersion, room_id: RoomId, event_id: EventId, membership: str
) -> Event:
    """Return the membership event, checked to be of this room and membership. Raises InvalidParam."""
    try:
        event = parse_pdu(pdu, version)
    except MatrixError as error:
        raise InvalidParam(f"That is no event of the room's version: {error.message}") from error
    if event.type != MEMBER or event.state_key is None or event.membership != membership:
        raise InvalidParam(f"The event must be an {MEMBER} event with the membership {membership}")
    if event.room_id != room_id:
        raise InvalidParam("The event is of another room")
    if event.event_id != event_id:
        raise InvalidParam("The event has another ID")
    return event


def check_signed(event: Event) -> None:
    """Raise InvalidParam unless the sender's server has signed the event and its hash is right."""
    wanted = keys_to_look_up(event)
    try:
        check_signatures(event, verify_keys(dict.fromkeys(wanted, event.origin_server_ts)))
    except MatrixError as error:
        raise InvalidParam(error.message) from error
    if not verify_content_hash(event.pdu):
        raise InvalidParam("The event's content hash is wrong")


def _vouched_for(room: Room, event: Event) -> Event:
    """Return the event, with this server's signature if it is a join that a local user is said to authorise.

    The rooms whose members may join are checked again. The authorisation rules, which come next, check that
    the local user may authorise the join. Raises Forbidden, UnableToAuthoriseJoin.
    """
    is_restricted = room.version.restricted_join_rule and event.membership == "join"
    if not is_restricted or not is_local_id(event.content.get(AUTHORISER)):
        return event
    state = room.events([JOIN_RULES_KEY, (MEMBER, event.sender)])
    rules, member = state.get(JOIN_RULES_KEY), state.get((MEMBER, event.sender))
    if member is None or member.membership not in ("join", "invite"):
        if rules is None or rules.content.get("join_rule") not in ("restricted", "knock_restricted"):
            raise Forbidden("The room's join rule needs nobody to vouch for a join")
        require_condition(event.sender, allowed_rooms(rules.content.get("allow")))
    signed = sign_event(event.pdu, settings().server_name, signing_key(), room.version)
    return Event(signed, room.version, event.event_id)
