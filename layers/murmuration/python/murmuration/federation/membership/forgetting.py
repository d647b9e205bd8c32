"""Giving a room up, as an operator may want to."""

from __future__ import annotations

from collections.abc import Iterator

from murmuration.aws import dynamodb
from murmuration.federation.membership.leaving import leave_room
from murmuration.protocol.errors import MatrixError
from murmuration.rooms.room import Room
from murmuration.storage.rooms import member_index
from murmuration.storage.users import memberships

PRESENT = ("join", "invite", "knock")


def forget_room(room_id: str) -> Iterator[tuple[str, str]]:
    """Have all users of this server leave a room and forget it.

    Nothing more is taken of it then, and it is deleted when the time for empty rooms is over. Yields each
    user and the error for which they couldn't leave, or "". Running it again goes on. Raises NotFound.
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
