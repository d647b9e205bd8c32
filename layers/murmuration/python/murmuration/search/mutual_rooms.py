"""The rooms that two users share. https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms"""

from __future__ import annotations

from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import InvalidParam, MissingParam
from murmuration.protocol.identifiers import UserId, is_valid_user_id
from murmuration.storage.rooms import member_index
from murmuration.storage.users import memberships

PAGE = 5_000


def get_mutual_rooms(requester: Requester, user_id: UserId | None, start: str | None) -> Answer:
    """Return the rooms that the requester and a user are both joined to, by room ID.

    `start` is an earlier answer's `next_batch`. Raises MissingParam, and InvalidParam for the requester's own
    ID, an invalid user ID or an unknown token.
    """
    if user_id is None:
        raise MissingParam("user_id is missing")
    if user_id == requester.user_id:
        raise InvalidParam("user_id is your own")
    if not is_valid_user_id(user_id):
        raise InvalidParam("user_id is not a user ID")
    if start is not None and not start.startswith("!"):
        raise InvalidParam("from is not a token of this list")
    mine = set(memberships.read_joined_rooms(requester.user_id))
    if member_index.is_local(user_id):
        shared = sorted(mine.intersection(memberships.read_joined_rooms(user_id)))
    else:
        shared = sorted(member_index.rooms_joined_by(user_id, mine))
    rest = [room_id for room_id in shared if start is None or room_id > start]
    more = {"next_batch": rest[PAGE - 1]} if len(rest) > PAGE else {}
    return {"joined": rest[:PAGE], "count": len(shared), **more}
