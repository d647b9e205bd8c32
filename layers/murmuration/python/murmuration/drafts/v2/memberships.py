"""Changes of membership in version 2: with action IDs, and invites that are named by their events.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from murmuration.drafts.v2.actions import check_action_id
from murmuration.federation.membership import inviting, leaving
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import NotFound
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.membership import operations as membership
from murmuration.rooms.writing.transactions import Claim
from murmuration.storage.rooms import event_places
from murmuration.storage.users.profiles import read_member_fields

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId

Change = Callable[..., None]
_OF_ANOTHER: Mapping[str, Change] = {
    "invite": inviting.invite_user,
    "kick": membership.kick_user,
    "ban": membership.ban_user,
    "unban": membership.unban_user,
}


def change_membership(
    change: str, requester: Requester, room_id: RoomId, body: Fields, action_id: str | None
) -> None:
    """Invite, kick, ban or unban the user that `body` names, once for an action ID.

    Raises Forbidden, MissingParam, BadJson, InvalidParam.
    """
    user_id, reason = body.string("user_id"), body.optional_string("reason")
    claim = _claim(change, requester, room_id, action_id)
    _OF_ANOTHER[change](requester.user_id, room_id, user_id, reason=reason, claim=claim)


def invite_user(requester: Requester, room_id: RoomId, body: Fields, action_id: str | None) -> Answer:
    """Invite a user. Returns their `displayname` and `avatar_url`, if known.

    Raises what `change_membership` raises.
    """
    change_membership("invite", requester, room_id, body, action_id)
    return dict(read_member_fields(body.user_id()))


def leave_room(requester: Requester, room_id: RoomId, body: Fields, action_id: str | None) -> None:
    """Leave a room, once for an action ID. Raises Forbidden, BadJson, InvalidParam."""
    claim = _claim("leave", requester, room_id, action_id)
    leaving.leave_room(requester.user_id, room_id, reason=body.optional_string("reason"), claim=claim)


def reject_invite(requester: Requester, event_id: EventId, action_id: str | None) -> None:
    """Reject an invite by its event ID. Raises NotFound if the event isn't an invite of the requester,
    InvalidParam.
    """
    room_id = room_of_event(event_id)
    claim = _claim("reject", requester, room_id, action_id)
    leaving.reject_invite(requester.user_id, room_id, event_id, claim=claim)


def room_of_event(event_id: EventId) -> RoomId:
    """Return the room that an event is in. Raises NotFound."""
    room_id = event_places.read_room_of(event_id) if fits_id(event_id) else None
    if room_id is None:
        raise NotFound("There is no such event")
    return room_id


def _claim(operation: str, requester: Requester, room_id: RoomId, action_id: str | None) -> Claim | None:
    if check_action_id(action_id) is None or not fits_id(room_id):
        return None
    return Claim(operation, requester, room_id, action_id or "")
