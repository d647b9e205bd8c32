"""Templates: membership events that another server is to complete and sign (make_join and so on).

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from murmuration.federation.membership.serving.access import asked_room, require_own_user
from murmuration.federation.membership.serving.restricted import joining_content
from murmuration.identity import rate_limits
from murmuration.protocol.errors import Forbidden, IncompatibleRoomVersion
from murmuration.protocol.event_types import MEMBER
from murmuration.rooms.writing.append import Append, Draft
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.federation.shapes import MembershipTemplate, TemplateEvent
    from murmuration.protocol.identifiers import RoomId, ServerName, UserId


def make_join(
    origin: ServerName, room_id: RoomId, user_id: UserId, versions: Collection[str]
) -> MembershipTemplate:
    """Return the template of a join.

    Raises NotFound, Forbidden, InvalidParam, IncompatibleRoomVersion, UnableToAuthoriseJoin,
    UnableToGrantJoin, LimitExceeded.
    """
    return _make(origin, room_id, user_id, "join", versions or ("1",))


def make_knock(
    origin: ServerName, room_id: RoomId, user_id: UserId, versions: Collection[str]
) -> MembershipTemplate:
    """Return the template of a knock. Raises NotFound, Forbidden, InvalidParam, IncompatibleRoomVersion."""
    return _make(origin, room_id, user_id, "knock", versions)


def make_leave(origin: ServerName, room_id: RoomId, user_id: UserId) -> MembershipTemplate:
    """Return the template of a leave, which may also end an invite or knock. Raises NotFound, Forbidden,
    InvalidParam.
    """
    return _make(origin, room_id, user_id, "leave", None)


def _make(
    origin: ServerName, room_id: RoomId, user_id: UserId, membership: str, versions: Collection[str] | None
) -> MembershipTemplate:
    require_own_user(origin, user_id)
    rate_limits.check("federation_membership", origin)
    room = asked_room(origin, room_id)
    version = room.version
    if versions is not None and version.id not in versions:
        raise IncompatibleRoomVersion(
            "Your homeserver does not support the version of this room", room_version=version.id
        )
    if membership == "knock" and not version.knocking:
        raise Forbidden("Rooms of this version take no knocks")
    batch = Append(version, room)
    content = joining_content(batch, user_id) if membership == "join" else {"membership": membership}
    pdu = batch.propose(Draft(MEMBER, user_id, content, user_id))
    event: TemplateEvent = {**pdu, "origin": settings().server_name}
    return {"room_version": version.id, "event": event}
