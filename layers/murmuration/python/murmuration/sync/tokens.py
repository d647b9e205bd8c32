"""Stream tokens: each names one stored row of positions, written once and never changed.

Retrying with an old token reads the same row, so it gives the same events again. Rows expire a month after
they were written; a token whose row is gone gets a full sync, never a silent gap.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from murmuration.clock import now_ms
from murmuration.protocol.errors import InvalidParam
from murmuration.storage import dynamodb
from murmuration.sync.positions import Positions, room_hash

TABLE = "sync-tokens"
LIFETIME_S = 30 * 86_400
_TOKEN = re.compile(r"s_[A-Za-z0-9_-]{8,32}")


def is_stream_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def parse(text: str) -> str:
    """The token as it is stored. Raises InvalidParam for what was never one."""
    if not is_stream_token(text):
        raise InvalidParam("The token is not one of this server's: begin without `since`")
    return text


def token_key(user_id: str, token: str) -> dict[str, str]:
    return {"user_id": user_id, "token": token}


def write(user_id: str, device_id: str, positions: Positions) -> str:
    """Store positions; the token that names them."""
    token = f"s_{secrets.token_urlsafe(9)}"
    item = {
        **token_key(user_id, token),
        "device_id": device_id,
        "positions": positions.dump(),
        "expires": now_ms() // 1000 + LIFETIME_S,
    }
    dynamodb.execute(dynamodb.put(TABLE, item))
    return token


def positions_of(item: Mapping[str, Any] | None, device_id: str) -> Positions | None:
    """The positions in a token's item; None for an unknown or expired token.

    Another device's token counts for rooms, but says nothing about this device's messages.
    """
    if item is None or item["expires"] <= now_ms() // 1000:
        return None
    positions = Positions.load(item["positions"])
    if item["device_id"] != device_id:
        positions.device = 0
    return positions


def read(user_id: str, token: str, device_id: str = "") -> Positions | None:
    """The positions that `token` names, or None where it has expired. Raises InvalidParam."""
    return positions_of(dynamodb.get(TABLE, token_key(user_id, parse(token))), device_id)


def room_position(user_id: str, token: str, room_id: str) -> int:
    """The ordinal up to which `token`'s client has seen a room's log. Raises InvalidParam."""
    positions = read(user_id, token)
    position = positions.rooms.get(room_hash(user_id, room_id)) if positions else None
    if position is None:
        raise InvalidParam("The token is not known, or says nothing about this room")
    return position.ordinal
