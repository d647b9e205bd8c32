"""Sets state of a room, including memberships, on whichever server the room or the user is.

The state endpoint changes memberships as the membership endpoints do. An invite of a remote user is signed by
that user's server first. A join or leave of a room that this server isn't in goes to a server that is.
"""

from __future__ import annotations

from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.identifiers import EventId, RoomId, UserId, parse_user_id
from murmuration.rooms.writing import sending
from murmuration.storage.rooms import member_index
from murmuration.storage.users import memberships
from murmuration.storage.users.memberships import Membership


def set_state(
    requester: Requester, room_id: RoomId, event_type: str, state_key: str, content: Content
) -> EventId:
    """Set a piece of state, and return the event's ID. Raises what `sending.set_state` raises, and the
    invited server's errors.
    """
    if event_type == MEMBER:
        event_id = _elsewhere(requester.user_id, room_id, UserId(state_key), content)
        if event_id is not None:
            return event_id
    return sending.set_state(requester, room_id, event_type, state_key, content)


def _elsewhere(sender: UserId, room_id: RoomId, user_id: UserId, content: Content) -> EventId | None:
    """Change a membership that needs another server. Returns the event's ID; None if no other server is
    needed.
    """
    membership = content.get("membership")
    if membership == "invite":
        parse_user_id(user_id)
        return None if member_index.is_local(user_id) else _invite(sender, room_id, user_id, content)
    if user_id != sender or membership not in ("join", "leave"):
        return None
    row = memberships.read_membership(sender, room_id)
    if row is None or not row.is_outside or row.membership not in ("invite", "knock"):
        return None
    if membership == "leave":
        return _leave(row, content)
    return _join(row, content) if row.membership == "invite" else None


def _invite(sender: UserId, room_id: RoomId, user_id: UserId, content: Content) -> EventId:
    from murmuration.federation.membership import inviting
    from murmuration.identity import rate_limits
    from murmuration.protocol.bodies import limit_size
    from murmuration.rooms.writing.append import MAX_MEMBER_BYTES

    limit_size(content, "A membership", MAX_MEMBER_BYTES)
    rate_limits.check("invite", sender)
    return inviting.invite_by(sender, room_id, user_id, content)


def _leave(row: Membership, content: Content) -> EventId:
    """End an invite or knock, and return the event's ID."""
    from murmuration.federation.membership.leaving import leave_room

    reason = content.get("reason")
    leave_room(row.user_id, row.room_id, reason=reason if isinstance(reason, str) else None)
    return _event_id_of(row)


def _join(row: Membership, content: Content) -> EventId:
    """Join the room of an invite, and return the event's ID."""
    from murmuration.federation.membership.joining import join_elsewhere, servers_for
    from murmuration.rooms.membership.joining import JoinRequest
    from murmuration.rooms.membership.operations import OURS

    reason = content.get("reason")
    custom = {name: value for name, value in content.items() if name not in OURS}
    request = JoinRequest(row.room_id, reason if isinstance(reason, str) else None, custom=custom)
    join_elsewhere(row.user_id, row.room_id, servers_for(row.user_id, row.room_id), request)
    return _event_id_of(row)


def _event_id_of(before: Membership) -> EventId:
    """Return the ID of the event that made the user's current membership."""
    row = memberships.read_row(before.user_id, before.room_id)
    return row.event_id if row is not None else before.event_id
