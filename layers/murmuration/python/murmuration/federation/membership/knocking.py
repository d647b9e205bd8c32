"""Knocking on a room by its ID or alias, on this server or another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.federation.membership import handshakes, outside, stripped
from murmuration.federation.membership.failures import first_answer
from murmuration.federation.membership.joining import find_alias, is_elsewhere, servers_for
from murmuration.identity import rate_limits
from murmuration.protocol.errors import GatewayTimeout, MatrixError, NotFound
from murmuration.rooms.membership import joining
from murmuration.rooms.membership.member_content import member_content
from murmuration.storage.users.memberships import Membership
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import TimedOut

TOTAL_SECONDS = 18.0

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName, UserId


def knock_on_room(
    user_id: UserId, room_id_or_alias: str, via: Sequence[str] = (), *, reason: str | None = None
) -> RoomId:
    """Knock on the room that an ID or alias names, and return its ID.

    Raises NotFound, Forbidden, LimitExceeded, and the errors of other servers.
    """
    named = room_id_or_alias
    if is_elsewhere(named):
        rate_limits.check("remote_question", user_id)
        named, servers = find_alias(named)
        via = [*via, *servers]
    try:
        return joining.knock_on_room(user_id, named, reason=reason)
    except NotFound:
        room_id = joining.resolve(named)
        servers = servers_for(user_id, room_id, via)
        if not servers:
            raise
    _knock(user_id, room_id, servers, reason)
    return room_id


def _knock(user_id: UserId, room_id: RoomId, servers: Sequence[ServerName], reason: str | None) -> None:
    content = member_content(user_id, "knock", reason=reason)
    deadline = Deadline(TOTAL_SECONDS)

    def by(server: ServerName) -> Membership:
        seconds = deadline.left(handshakes.MAKE_SECONDS)
        event = handshakes.make(server, "knock", room_id, user_id, content)
        answer = handshakes.send(server, "knock", event, seconds=seconds)
        try:
            state = stripped.received_state(answer.get("knock_room_state"), event.room_version, room_id)
        except MatrixError:
            state = []  # they have accepted the knock; the user knows the room anyway
        return outside.outside_row(event, "knock", state, [server])

    try:
        row = first_answer(servers, by)
    except TimedOut as error:
        raise GatewayTimeout("The servers in the room took too long") from error

    def make(before: Membership | None) -> Membership | None:
        return None if before is not None and before.membership in ("join", "invite") else row

    outside.record(user_id, room_id, make)
