"""Invites by address of a user whose address an identity server has just learned.

The identity server tells the user's server which invites wait for the address. For each of them the server of
its sender is asked to turn it into an invite of the user, which then arrives like any other. Nothing that the
identity server says is believed here: the sender's server checks its signature by the keys in the room.
https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from murmuration.federation.membership.inviting import invite_by
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import RequestFailed
from murmuration.federation.requests.threads import side_by_side
from murmuration.identity import rate_limits
from murmuration.protocol.bodies import Fields, object_of, required
from murmuration.protocol.encoding.shapes import Answer, Body, Content
from murmuration.protocol.errors import BadJson, InvalidParam, MatrixError, NotFound, TooLarge
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.identifiers import RoomId, UserId, is_valid_user_id, server_of
from murmuration.protocol.sizes import json_bytes
from murmuration.rooms.lookup import fits_id
from murmuration.storage.rooms.member_index import is_local_id
from murmuration.storage.users import accounts

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Untrusted

MOST_INVITES = 10
"""How many invites of one request are handled."""
MOST_BYTES = 10_000
"""The maximum size of what an identity server has signed."""
SECONDS = 10.0


def take_binding(body: Body, address: str) -> Answer:
    """Have the senders' servers invite a local user to the rooms to which their address was invited.

    Invites that fail are left out: the identity server can do nothing about them. Raises MissingParam,
    BadJson, InvalidParam, NotFound for a user who isn't here, TooLarge, LimitExceeded for the `address` that
    asks too often.
    """
    user_id = Fields(dict(body)).user_id("mxid")
    invites = required(body, "invites")
    if not isinstance(invites, list):
        raise BadJson("invites must be a list")
    if len(invites) > MOST_INVITES:
        raise TooLarge(f"A request has at most {MOST_INVITES} invites")
    found = [_parse(object_of(each, "invites"), user_id) for each in invites]
    rate_limits.check("remote_question_from", address)
    account = accounts.read_account(user_id) if is_local_id(user_id) else None
    if account is None or "deactivated_ms" in account:
        raise NotFound("There is no such user here")
    side_by_side(functools.partial(_exchange, user_id), found)
    return {}


def _parse(invite: Untrusted, user_id: UserId) -> tuple[RoomId, UserId, Content]:
    """Return an invite's room, its sender, and the content of the membership that it stands for."""
    room_id, sender = invite.get("room_id"), invite.get("sender")
    if not isinstance(room_id, str) or not fits_id(room_id):
        raise InvalidParam("An invite has a room_id and a sender")
    if not isinstance(sender, str) or not is_valid_user_id(sender):
        raise InvalidParam("An invite has a room_id and a sender")
    signed = object_of(required(invite, "signed"), "signed")
    if signed.get("mxid") != user_id:
        raise InvalidParam("The identity server has signed for another user")
    if json_bytes(signed) > MOST_BYTES:
        raise TooLarge(f"What is signed has at most {MOST_BYTES} bytes")
    # The room's state has the name that members see; only the identity server knows the address.
    third_party = {"display_name": user_id, "signed": signed}
    return RoomId(room_id), UserId(sender), {"membership": "invite", "third_party_invite": third_party}


def _exchange(user_id: UserId, invite: tuple[RoomId, UserId, Content]) -> None:
    room_id, sender, content = invite
    try:
        if is_local_id(sender):
            invite_by(sender, room_id, user_id, content)
        else:
            _ask(user_id, room_id, sender, content)
    except (MatrixError, RequestFailed) as error:
        logging.getLogger("murmuration.federation").warning("an invite by address failed: %s", error)


def _ask(user_id: UserId, room_id: RoomId, sender: UserId, content: Content) -> None:
    """Ask the sender's server for the invite. Raises Forbidden for a denied server, RequestFailed."""
    event: Mapping[str, object] = {
        "type": MEMBER,
        "room_id": room_id,
        "sender": sender,
        "state_key": user_id,
        "content": content,
    }
    path = client.path("_matrix", "federation", "v1", "exchange_third_party_invite", room_id)
    client.request(server_of(sender), "PUT", path, body=event, seconds=SECONDS, for_user=True)
