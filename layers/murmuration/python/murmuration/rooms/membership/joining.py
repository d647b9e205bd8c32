"""Joining and knocking by room ID or alias."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from murmuration.identity import rate_limits
from murmuration.identity.authentication import authenticate
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.bodies import Fields
from murmuration.protocol.errors import InvalidParam, NotFound
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.membership import operations as membership
from murmuration.rooms.opening import open_room_with_profile
from murmuration.rooms.writing.transactions import Claim
from murmuration.storage.rooms import directory

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Body, Content

_PARAMETERS = ("reason", "third_party_signed")


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """The room to join, and the content of the member event."""

    room_id_or_alias: str
    reason: str | None = None
    third_party_signed: Body | None = None
    custom: Content = field(default_factory=dict)

    @classmethod
    def from_body(cls, room_id_or_alias: str, body: Fields, *, with_custom: bool = False) -> JoinRequest:
        """Parse the body of a join.

        `with_custom` puts the body's other keys into the member event, as Synapse does.

        Raises BadJson.
        """
        signed = body.optional_object("third_party_signed")
        others = {name: value for name, value in body.values.items() if name not in _PARAMETERS}
        return cls(room_id_or_alias, body.optional_string("reason"), signed, others if with_custom else {})


def join_room(token: AccessToken, request: JoinRequest, *, txn_id: str | None = None) -> RoomId:
    """Join the room that an ID or alias names, once for a `txn_id`, and return the room ID.

    Raises UnknownToken, NotFound, Forbidden, LimitExceeded.
    """
    if not request.room_id_or_alias.startswith("!"):
        authenticate(token)
    room_id = resolve(request.room_id_or_alias)
    requester, room, profile = open_room_with_profile(token, room_id)
    rate_limits.check("join", requester.user_id)
    return membership.join_room(
        requester.user_id,
        room_id,
        profile=profile,
        room=room,
        reason=request.reason,
        third_party_signed=request.third_party_signed,
        custom=request.custom,
        claim=Claim("join", requester, room_id, txn_id) if txn_id is not None else None,
    )


def knock_on_room(user_id: UserId, room_id_or_alias: str, *, reason: str | None = None) -> RoomId:
    """Knock on the room that an ID or alias names, and return the room ID.

    Raises NotFound, Forbidden, LimitExceeded.
    """
    rate_limits.check("join", user_id)
    return membership.knock_on_room(user_id, resolve(room_id_or_alias), reason=reason)


def resolve(room_id_or_alias: str) -> RoomId:
    """Return the ID of the room that `room_id_or_alias` names.

    Raises NotFound for an unknown alias, InvalidParam if it is neither an ID nor an alias.
    """
    if not room_id_or_alias.startswith(("!", "#")):
        raise InvalidParam("A room ID begins with !, and a room alias with #")
    if not fits_id(room_id_or_alias):
        raise NotFound("No room has so long a name")
    if room_id_or_alias.startswith("!"):
        return RoomId(room_id_or_alias)
    found = directory.read_alias(room_id_or_alias)
    if found is None:
        raise NotFound(f"There is no room with the alias {room_id_or_alias}")
    return RoomId(str(found["room_id"]))
