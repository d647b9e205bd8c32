"""Leaving a room on this server or another, rejecting an invite, or withdrawing a knock.

For a room that this server isn't in, a server in the room has to accept the leave. If none does, the user's
invite ends all the same, and the servers are asked again later.
"""

from __future__ import annotations

import functools
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from murmuration.aws import concurrency, queues
from murmuration.clock import now_ms
from murmuration.federation.membership import handshakes, outside
from murmuration.federation.membership.failures import first_answer
from murmuration.federation.membership.joining import QUEUE, servers_for
from murmuration.identity import turns
from murmuration.protocol.errors import Forbidden, LimitExceeded, MatrixError, NotFound
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event
from murmuration.rooms.membership import operations
from murmuration.rooms.writing.transactions import Claim
from murmuration.storage.users import memberships
from murmuration.storage.users.memberships import Membership
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import TransportError

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import EventFields
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId

TOTAL_SECONDS = 18.0
AGAIN_SECONDS = 600
MOST_TRIES = 6


def leave_room(
    user_id: UserId, room_id: RoomId, *, reason: str | None = None, claim: Claim | None = None
) -> None:
    """Leave a room, reject an invite or withdraw a knock. Does nothing for a user who has left. Raises
    Forbidden.
    """
    try:
        if operations.leave_room(user_id, room_id, reason=reason, claim=claim) is not False:
            return
    except (Forbidden, NotFound):
        if not _end(user_id, room_id, reason):
            raise
    else:
        _end(user_id, room_id, reason)


def reject_invite(user_id: UserId, room_id: RoomId, event_id: EventId, *, claim: Claim | None = None) -> None:
    """Reject the invite with this event ID. Raises NotFound if the event isn't an invite that is still
    open.
    """
    row = memberships.read_membership(user_id, room_id)
    if row is not None and row.is_outside and (row.event_id, row.membership) == (event_id, "invite"):
        _end(user_id, room_id, None)
    else:
        operations.reject_invite(user_id, room_id, event_id, claim=claim)


def leave_all_rooms(user_id: UserId) -> None:
    """Leave every room, and end every invite and knock, as a deactivated account does.

    Invites to rooms that this server isn't in end at once; other servers are told later.
    """

    def leave(row: Membership) -> None:
        if row.is_outside:
            _end(user_id, row.room_id, None, wait=False)
        else:
            operations.leave_room(user_id, row.room_id)

    rows = memberships.read_memberships(user_id)
    inside = [row for row in rows if row.membership in ("join", "invite", "knock")]
    concurrency.parallel(*(functools.partial(leave, row) for row in inside))


def leave_again(user_id: UserId, room_id: RoomId, tries: int) -> None:
    """Send a leave to the room's servers again, because none of them accepted it when the user left.

    It takes from the time for the user's joins, because the same workers do it. If there is none, it is
    tried again later.
    """
    row = memberships.read_row(user_id, room_id)
    if row is None or not row.is_outside or row.membership != "leave":
        return
    began_s = time.monotonic()
    try:
        taken_ms = turns.take_time(user_id)
    except LimitExceeded:
        _ask_later(user_id, room_id, tries)
        return
    left = _leave_elsewhere(row, None, seconds=turns.QUICK_S)
    turns.give_back(user_id, taken_ms, time.monotonic() - began_s)
    if left is None and tries < MOST_TRIES:
        _ask_later(user_id, room_id, tries + 1)


def _end(user_id: UserId, room_id: RoomId, reason: str | None, *, wait: bool = True) -> bool:
    """End an invite or knock for a room that this server isn't in. Returns False if there never was one."""
    row = memberships.read_membership(user_id, room_id)
    if row is not None and row.is_outside and row.membership == "leave":
        return True  # the client repeated its request
    if row is None or not row.is_outside or row.membership not in ("invite", "knock"):
        return False
    left = _leave_elsewhere(row, reason) if wait else None
    shown = outside.shown_event(left) if left is not None else _local_leave(user_id, reason)

    def end(before: Membership | None) -> Membership | None:
        if before is None or before.event_id != row.event_id:
            return None  # they were invited again meanwhile, or the invite has ended
        return outside.ended_row(before, shown, user_id)

    ended = outside.record(user_id, room_id, end)
    if ended and left is None:
        _ask_later(user_id, room_id, 1)
    return True


def _ask_later(user_id: UserId, room_id: RoomId, tries: int) -> None:
    message = {"user_id": user_id, "room_id": room_id, "leave": tries}
    queues.send_later(QUEUE, message, AGAIN_SECONDS)


def _leave_elsewhere(row: Membership, reason: str | None, *, seconds: float = TOTAL_SECONDS) -> Event | None:
    """Leave with the help of a server in the room. Returns the leave event; None if no server accepted it in
    time.
    """
    content = {"reason": reason} if reason is not None else {}
    deadline = Deadline(seconds)

    def by(server: ServerName) -> Event:
        left = deadline.left(handshakes.MAKE_SECONDS)
        event = handshakes.make(server, "leave", row.room_id, row.user_id, content)
        handshakes.send(server, "leave", event, seconds=left)
        return event

    with suppress(MatrixError, TransportError):
        return first_answer(servers_for(row.user_id, row.room_id, row.via), by)
    return None


def _local_leave(user_id: UserId, reason: str | None) -> EventFields:
    """Return the leave event that clients see if no server has accepted the leave."""
    return {
        "type": MEMBER,
        "state_key": user_id,
        "sender": user_id,
        "content": {"membership": "leave", **({"reason": reason} if reason is not None else {})},
        "origin_server_ts": now_ms(),
        "event_id": f"${secrets.token_urlsafe(32)}",
        "unsigned": {},
    }
