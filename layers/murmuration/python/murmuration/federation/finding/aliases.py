"""Aliases of this server and of others, for clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from murmuration.federation.membership import joining
from murmuration.identity import rate_limits
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import NotFound
from murmuration.rooms.lifecycle import aliases
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.rooms.json_types import AliasedRoom


def get_room_id_by_alias(alias: str, *, address: Callable[[], str]) -> AliasedRoom | Answer:
    """Return the room that an alias points to, and servers through which to join it.

    `address` returns the requester's network address; it is limited, because anybody may ask. Raises
    InvalidParam, NotFound, LimitExceeded; Forbidden for a server that the operator's lists exclude;
    BadGateway if the other server doesn't answer.
    """
    if not joining.is_elsewhere(alias):
        return aliases.get_room_id_by_alias(alias)
    if not settings().federation:
        raise NotFound(f"{alias} is an alias of another homeserver, which this one can't reach")
    rate_limits.check("remote_question_from", address())
    room_id, servers = joining.find_alias(alias)
    return {"room_id": room_id, "servers": servers}
