"""Inviting users of other servers: their server signs the invite before it becomes part of the room.

https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.federation.inbound.elsewhere import MissingEvents
from murmuration.federation.inbound.receiving import receive
from murmuration.federation.keys.fetching import verify_keys
from murmuration.federation.membership.failures import passed_on
from murmuration.federation.membership.handshakes import listed_answer
from murmuration.federation.membership.serving.access import KeysAlone, require_acl
from murmuration.federation.membership.stripped import full_state
from murmuration.federation.names import policy
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import Malformed, Refused, RequestFailed
from murmuration.federation.requests.threads import side_by_side
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.errors import Forbidden, MatrixError, NotFound, Unavailable
from murmuration.protocol.event_types import CREATE_KEY, MEMBER, SERVER_ACL_KEY
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId, parse_user_id, server_of
from murmuration.protocol.pdus.event_format import parse_pdu
from murmuration.protocol.pdus.signing import key_ids_of
from murmuration.rooms.lifecycle import creation
from murmuration.rooms.lifecycle.creation import RoomRequest
from murmuration.rooms.membership import operations
from murmuration.rooms.membership.invitees import check_takes_invites
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import Append, Draft, append
from murmuration.rooms.writing.settling import settle
from murmuration.rooms.writing.transactions import Claim
from murmuration.storage.rooms import member_index

if TYPE_CHECKING:
    from murmuration.federation.shapes import InviteRequest
    from murmuration.protocol.pdus.shapes import Pdu

SECONDS = 25.0


def invite_user(
    sender: UserId, room_id: RoomId, user_id: UserId, *, reason: str | None = None, claim: Claim | None = None
) -> None:
    """Invite a user of any server who isn't in the room. Repeating the same invite changes nothing.

    Raises Forbidden, InvalidParam, LimitExceeded, and the error of the user's server.
    """
    parse_user_id(user_id)
    if member_index.is_local(user_id):
        operations.invite_user(sender, room_id, user_id, reason=reason, claim=claim)
        return
    rate_limits.check("invite", sender)
    content = {"membership": "invite", **({"reason": reason} if reason is not None else {})}
    invite_by(sender, room_id, user_id, content)


def create_room(requester: Requester, request: RoomRequest, *, txn_id: str | None = None) -> RoomId:
    """Create a room, invite the remote users whom the request names, and return the room's ID.

    Raises what `creation.create_room` raises, and the error of a user's server once all servers were asked.
    """
    others = [user_id for user_id in dict.fromkeys(request.invite) if not member_index.is_local(user_id)]
    for user_id in others:
        policy.require_allowed(parse_user_id(user_id).server_name)
    room_id = creation.create_room(requester, request, txn_id=txn_id, elsewhere=True)
    content = {"membership": "invite", **({"is_direct": True} if request.is_direct else {})}

    def call(user_id: UserId) -> MatrixError | None:
        try:
            invite_by(requester.user_id, room_id, user_id, content)
        except MatrixError as error:
            return error
        return None

    for error in side_by_side(call, others):
        if error is not None:
            raise error
    return room_id


def invite_by(sender: UserId, room_id: RoomId, user_id: UserId, content: Content) -> EventId:
    """Invite a user of any server with this content. Returns the event's ID. Raises what `invite_user`
    raises.
    """
    if member_index.is_local(user_id):
        check_takes_invites(user_id)
        return append(room_id, lambda batch: batch.add(Draft(MEMBER, sender, content, user_id))).event_id
    server = server_of(user_id)
    policy.require_allowed(server)
    try:
        room = settle(Room.load(room_id))
    except NotFound as error:
        raise unknown_room(room_id) from error
    event, is_new = _build(room, sender, user_id, content)
    if not is_new:
        return event.event_id
    signed = InvitedServers().ask_for_invite(room, event)
    try:
        received = receive(room_id, signed.pdu, KeysAlone())
    except MissingEvents as error:
        raise Unavailable("The room changed too much meanwhile; try again") from error
    if received.kind != "accepted":
        raise Forbidden(received.reason or "The room does not allow the invite")
    return event.event_id


def _build(room: Room, sender: UserId, user_id: UserId, content: Content) -> tuple[Event, bool]:
    """Return the invite, and whether it is new. It isn't part of the room yet.

    If the user already has an invite with the same content, returns that one.
    """
    batch = Append(room.version, room)
    state = batch.state([CREATE_KEY, SERVER_ACL_KEY, (MEMBER, sender), (MEMBER, user_id)])
    inviter, member = state.get((MEMBER, sender)), state.get((MEMBER, user_id))
    if inviter is None or inviter.membership != "join":
        raise unknown_room(room.room_id)
    if member is not None and member.membership == "join":
        raise Forbidden(f"{user_id} is in the room already")
    if member is not None and (member.sender, member.content) == (sender, content):
        return member, False
    _require_federation(room, server_of(user_id))
    return batch.offer(Draft(MEMBER, sender, content, user_id)), True


def _require_federation(room: Room, server: ServerName) -> None:
    """Raise Forbidden if the server's users can't be in the room."""
    policy.require_allowed(server)
    state = room.events([CREATE_KEY, SERVER_ACL_KEY])
    if state[CREATE_KEY].content.get("m.federate") is False:
        raise Forbidden("This room is for users of one server only")
    require_acl(server, room)


class InvitedServers:
    """Asks the servers of invited users (`rooms.writing.invite_port.InviteClient`)."""

    def ask_for_invite(self, room: Room, event: Event) -> Event:
        """Return the invite signed by the invited user's server; see `InviteClient`."""
        server = server_of(event.member_id)
        _require_federation(room, server)
        try:
            return _ask(server, event, full_state(room.events, event.sender))
        except RequestFailed as error:
            raise passed_on(error) from error


def _ask(server: ServerName, event: Event, state: Sequence[Pdu]) -> Event:
    """Return the invite with the signature of the invited user's server. Raises RequestFailed."""
    parts = (event.room_id, event.event_id)
    body: InviteRequest = {
        "room_version": event.room_version.id, "event": event.pdu, "invite_room_state": list(state),
    }  # fmt: skip
    try:
        answer = client.request(
            server, "PUT", client.path("_matrix", "federation", "v2", "invite", *parts), body=body,
            seconds=SECONDS, for_user=True,
        )  # fmt: skip
    except Refused as error:
        if error.status not in (400, 404) or not event.room_version.server_assigned_event_ids:
            raise
        pdu = {**event.pdu, "unsigned": {"invite_room_state": list(state)}}
        answer = listed_answer(
            server,
            client.request_value(
                server, "PUT", client.path("_matrix", "federation", "v1", "invite", *parts), body=pdu,
                seconds=SECONDS, for_user=True,
            ),
        )  # fmt: skip
    return _with_signature(server, event, answer.get("event"))


def _with_signature(server: ServerName, event: Event, answered: object) -> Event:
    """Return the event with the server's signature from the answer. Raises Malformed."""
    given = answered.get("signatures") if isinstance(answered, dict) else None
    by_server = given.get(server) if isinstance(given, dict) else None
    if not isinstance(by_server, dict):
        raise Malformed(f"{server} did not sign the invite")
    signatures = {**event.pdu["signatures"], server: by_server}
    try:
        signed = parse_pdu({**event.pdu, "signatures": signatures}, event.room_version)
        _check_signature(server, signed)
    except MatrixError as error:
        raise Malformed(f"{server} signed the invite wrongly") from error
    return signed


def _check_signature(server: ServerName, event: Event) -> None:
    """Raise InvalidSignature unless a known key of the server has signed the event."""
    from murmuration.protocol.pdus.signing import InvalidSignature, verify_event

    wanted = {(server, key_id): event.origin_server_ts for key_id in key_ids_of(event.pdu, server)}
    keys = verify_keys(wanted, urgent=True)
    if not keys:
        raise InvalidSignature("The signature's key is not known")
    for (_, key_id), key in keys.items():
        verify_event(event.pdu, server, key_id, key.public_key, event.room_version)
