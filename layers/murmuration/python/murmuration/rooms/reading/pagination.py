"""Positions in a room's timeline, and the tokens for them.

A position is between two events and named by the ordinal of the event before it: events 1 to 7 are before
position 7, and events from 8 on are after it.

A token may contain a second position, up to which a sync had shown the room. The `prev_batch` of a client's
first view of a room has it, if the timeline starts where that view starts. Pages continue from the first
position; `/members?at=` uses the second one, because at the first one there are no members yet, or they are
hidden. https://spec.matrix.org/v1.19/client-server-api/#pagination
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from murmuration.protocol.errors import InvalidParam

if TYPE_CHECKING:
    from murmuration.identity.tokens import Requester
    from murmuration.protocol.identifiers import RoomId

_TOKEN = re.compile(r"t(-?[0-9]{1,15})(?:\.([0-9]{1,15}))?", re.ASCII)


def position_token(ordinal: int, *, shown: int | None = None) -> str:
    """Return the token of the position after the event with this ordinal; `shown` is the second position."""
    return f"t{ordinal}" if shown is None else f"t{ordinal}.{shown}"


def parse_position(token: str) -> int:
    """Return the first position of a token that `position_token` made. Raises InvalidParam."""
    return int(_parsed(token)[1])


def parse_moment(token: str) -> int:
    """Return the second position of a token, or its only one. Raises InvalidParam."""
    match = _parsed(token)
    return int(match[2] or match[1])


def _parsed(token: str) -> re.Match[str]:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidParam("The pagination token is not one of this server's")
    return match


def resolve_token(
    token: str, requester: Requester, room_id: RoomId, parse: Callable[[str], int] = parse_position
) -> int | None:
    """Return the position in the room that a pagination token, or a sync token of the requester's, names.

    `parse` reads pagination tokens. Returns None for a sync token whose client doesn't see the room, because
    the user joins later or has left. Raises InvalidParam.
    """
    user_id = requester.user_id
    if token.startswith(("s_", "p_", "c_", "h_")):
        from murmuration.storage.live.sync_tokens import room_position

        return room_position(user_id, token, room_id)
    if token.startswith("l"):
        from murmuration.storage.live import sliding_positions

        return sliding_positions.room_position(user_id, requester.device_id, token, room_id)
    return parse(token)
