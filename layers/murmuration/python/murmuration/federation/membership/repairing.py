"""An operator's repairs: making all users leave a room, and fetching a room again from other servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.federation.membership.joining import join_elsewhere, servers_for
from murmuration.federation.membership.leaving import leave_room
from murmuration.protocol.errors import Forbidden, MatrixError, NotFound
from murmuration.rooms.membership.joining import JoinRequest
from murmuration.rooms.room import Room
from murmuration.storage.rooms import member_index
from murmuration.storage.users import memberships

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

PRESENT = ("join", "invite", "knock")


def forget_room(room_id: RoomId) -> Iterator[tuple[str, str]]:
    """Make all local users leave a room and forget it.

    From then on no events of the room are accepted, and it is deleted after the usual time for empty rooms.
    Yields each user, with the error if they couldn't leave, or "". After an interruption, run it again.
    Raises NotFound.
    """
    head = Room.load(room_id).head
    for user_id in member_index.read_local(head, memberships=PRESENT):
        try:
            leave_room(user_id, room_id)
            row = memberships.read_membership(user_id, room_id)
            if row is not None and row.membership in ("leave", "ban"):
                dynamodb.execute(memberships.forget_write(row))
        except (MatrixError, dynamodb.ConditionFailed) as error:
            yield user_id, str(error) or "the membership changed meanwhile"
        else:
            yield user_id, ""


def rejoin_room(room_id: RoomId, via: Sequence[str] = ()) -> list[str]:
    """Fetch a room again from other servers, whose state replaces the state known here.

    One local user joins again through a server in the room; the servers in `via` are tried first. Then those
    users join again whom that server doesn't list as joined. Returns the users who are joined afterwards. The
    log stays, with a gap in it.

    Raises Forbidden if no local user is joined, NotFound for an unknown room or if no other server is known,
    and the errors of other servers.
    """
    users = member_index.read_local(Room.load(room_id).head)
    if not users:
        raise Forbidden("No user of this server is in the room")
    joined: list[str] = []
    for user_id in users:
        if joined and Room.load(room_id).membership(user_id) == "join":
            joined.append(user_id)
            continue
        servers = servers_for(user_id, room_id, via)
        if not servers:
            raise NotFound("No other server is known to be in the room: name one")
        join_elsewhere(user_id, room_id, servers, JoinRequest(room_id), afresh=not joined)
        joined.append(user_id)
    return joined
