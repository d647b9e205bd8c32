"""Answers other servers' queries about aliases and users, mostly sent before a join or invite.

https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
"""

from __future__ import annotations

from murmuration.profiles.profile import get_user_profile
from murmuration.protocol.encoding.shapes import Answer, Content
from murmuration.protocol.errors import MissingParam, NotFound
from murmuration.protocol.identifiers import UserId, parse_room_alias
from murmuration.rooms.reading.servers import via
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage.rooms import directory

MOST_SERVERS = 100


def query_directory(alias: str | None) -> Answer:
    """Return the room that an alias of this server points to, and servers that are in it.

    Raises MissingParam, InvalidParam, NotFound.
    """
    if alias is None:
        raise MissingParam("The query parameter room_alias is missing")
    if parse_room_alias(alias).server_name != settings().server_name:
        raise NotFound("This is not an alias of this server")
    found = directory.read_alias(alias)
    if found is None:
        raise NotFound(f"There is no room with the alias {alias}")
    room = Room.load(found["room_id"])
    return {"room_id": room.room_id, "servers": via(room, limit=MOST_SERVERS)}


def query_profile(user_id: UserId | None, field: str | None) -> Content:
    """Return a user's profile, or one field of it. Raises MissingParam, InvalidParam, NotFound."""
    if user_id is None:
        raise MissingParam("The query parameter user_id is missing")
    profile = get_user_profile(user_id)
    if field is None:
        return profile
    if field not in profile:
        raise NotFound("The user's profile has no such field")
    return {field: profile[field]}
