"""Reports of rooms, events and users, which the operator reads with `murmuration reports`.

https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

from __future__ import annotations

from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.bodies import Fields, limit_size
from murmuration.protocol.errors import NotFound
from murmuration.protocol.identifiers import EventId, RoomId, UserId, parse_user_id
from murmuration.storage import reports as storage
from murmuration.storage.reports import Report

MAX_REASON_BYTES = 4_096


def report_room(requester: Requester, room_id: RoomId, body: Fields) -> None:
    """Report a room, which the requester needn't be in.

    It may be a room that this server isn't in, if the requester is invited to it or knocks on it. Raises
    NotFound, MissingParam, BadJson, TooLarge, LimitExceeded.
    """
    from murmuration.rooms.lookup import fits_id
    from murmuration.rooms.room import Room
    from murmuration.storage.users import memberships

    reason = _checked(body.string("reason"))
    if not fits_id(room_id) or memberships.read_membership(requester.user_id, room_id) is None:
        Room.load(room_id)
    _add(Report(now_ms(), requester.user_id, reason, room_id=room_id))


def report_event(token: AccessToken, room_id: RoomId, event_id: EventId, body: Fields) -> None:
    """Report an event of a room that the requester is in.

    Raises UnknownToken, NotFound also if the requester isn't in the room, BadJson, TooLarge, LimitExceeded.
    """
    from murmuration.rooms.reading.viewing import open_view

    reason = _checked(body.optional_string("reason") or "")
    view = open_view(token, room_id, otherwise=NotFound)
    if not view.viewer.is_joined:
        raise NotFound("There is no such event, or you aren't in the room")
    event = view.find(event_id).entry.event
    _add(
        Report(
            now_ms(), view.requester.user_id, reason, room_id=room_id, event_id=event_id, user_id=event.sender
        )
    )


def report_user(requester: Requester, user_id: UserId, body: Fields) -> None:
    """Report a user. For other servers' users it isn't checked that they exist.

    Raises NotFound, InvalidParam, MissingParam, BadJson, TooLarge, LimitExceeded.
    """
    from murmuration.storage.rooms.member_index import is_local
    from murmuration.storage.users import accounts

    reason = _checked(body.string("reason"))
    parse_user_id(user_id)
    if is_local(user_id) and accounts.read_account(user_id) is None:
        raise NotFound("There is no such user")
    _add(Report(now_ms(), requester.user_id, reason, user_id=user_id))


def _checked(reason: str) -> str:
    limit_size(reason, "reason", MAX_REASON_BYTES)
    return reason


def _add(report: Report) -> None:
    rate_limits.check("report", report.reporter)
    storage.add(report)
