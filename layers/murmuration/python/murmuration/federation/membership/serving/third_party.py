"""Turns an invite by address into the invite of a user: another server says which user the address belongs
to.

The identity server's signature proves this: its keys are in the room's state, and the authorisation rules
check it. https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
"""

from __future__ import annotations

from murmuration.federation.membership.inviting import invite_by
from murmuration.federation.membership.serving.access import asked_room
from murmuration.identity import rate_limits
from murmuration.protocol.bodies import Fields, object_of, required
from murmuration.protocol.encoding.shapes import Answer, Body
from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.identifiers import RoomId, ServerName, is_valid_user_id
from murmuration.storage.rooms.member_index import is_local_id


def exchange(origin: ServerName, room_id: RoomId, body: Body) -> Answer:
    """Invite the user whom the body names, on behalf of the local user who invited the address.

    Raises MissingParam, BadJson, InvalidParam, NotFound, Forbidden if the signature or the room doesn't allow
    it, and the error of the invited user's server.
    """
    rate_limits.check("federation_membership", origin)
    fields = Fields(dict(body))
    sender, user_id, content = (
        fields.user_id("sender"),
        fields.user_id("state_key"),
        object_of(required(body, "content"), "content"),
    )
    if fields.string("type") != MEMBER or fields.string("room_id") != room_id:
        raise InvalidParam("The event must be a membership event of the room in the path")
    if content.get("membership") != "invite" or not is_valid_user_id(user_id):
        raise InvalidParam("The event must invite a user")
    if not is_local_id(sender):
        raise InvalidParam("The sender is not a user of this server")
    third_party = object_of(required(content, "third_party_invite"), "third_party_invite")
    signed = object_of(required(third_party, "signed"), "signed")
    name = third_party.get("display_name")
    asked_room(origin, room_id)
    invite_by(
        sender,
        room_id,
        user_id,
        {
            "membership": "invite",
            "third_party_invite": {"display_name": name if isinstance(name, str) else "", "signed": signed},
        },
    )
    return {}
