"""Positions in a room's timeline, and the tokens that stand for them.

A position is a gap between events, named by the ordinal of the event before it: position 7 has the events 1
to 7 behind it and 8 onwards ahead. https://spec.matrix.org/v1.19/client-server-api/#pagination
"""

from __future__ import annotations

import re

from murmuration.protocol.errors import InvalidParam

_TOKEN = re.compile(r"t(-?[0-9]{1,15})")


def position_token(ordinal: int) -> str:
    """The token of the position right after the event with this ordinal."""
    return f"t{ordinal}"


def parse_position(token: str) -> int:
    """The position that `position_token` rendered. Raises InvalidParam."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidParam("The pagination token is not one of this server's")
    return int(match[1])


def resolve_token(token: str, user_id: str, room_id: str) -> int | None:
    """The position that a pagination token, or a user's sync token, has in the room.

    None for a sync token whose client is shown no more, or not yet, what happens there. Raises InvalidParam.
    """
    if token.startswith(("s_", "p_", "c_")):
        from murmuration.storage.live.sync_tokens import room_position

        return room_position(user_id, token, room_id)
    return parse_position(token)
