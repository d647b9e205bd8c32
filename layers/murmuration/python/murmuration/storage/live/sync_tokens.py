"""Sync tokens: each names one stored row of positions, which is written once and never changed.

`s_<row>` is a plain token. `p_<row>.…` (a mark) names the same row and has everything that an up-to-date
client needs to wait without a function (`sync.marks`), and the client's positions in rooms that changed since
the row was written (`moves`). It becomes `c_<row>.…` (a call) when there may be updates.

A retry with an old token reads the same row, so it gives the same events again. Rows expire a month after
they were written. A token whose row is gone gets a full sync, never a silent gap.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Literal

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, StoredItem
from murmuration.aws.reads import Read
from murmuration.clock import now_ms
from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.storage.live import token_forms
from murmuration.storage.live.compact import moves
from murmuration.storage.live.positions import Positions, room_hash
from murmuration.storage.live.token_forms import PLAIN

TABLE = "sync-tokens"
LIFETIME_S = 30 * 86_400
FRESH_S = 5
"""How long a token is fresh: its client has just got all updates."""
TIME_LENGTH, ROW_LENGTH = 4, 16
"""A row's name: the low three bytes of the time in seconds at which it was written, and nine random bytes, in
Base64."""
_TIMES = 1 << 24


def is_stream_token(text: str) -> bool:
    return token_forms.ANY.fullmatch(text) is not None


def parse(text: str) -> str:
    """Return the token in the form in which it is stored. Raises InvalidParam for an invalid one."""
    found = token_forms.ANY.fullmatch(text)
    if found is None:
        raise InvalidParam("The token is not one of this server's: begin without `since`")
    return f"{PLAIN}{found['plain'] or found['marked']}"


def moves_in(text: str) -> str:
    """Return a token's moves since its row was written (`moves`); empty if there are none."""
    found = token_forms.PLACE.fullmatch(text)
    return (found["moves"] if found is not None else None) or ""


def token_key(user_id: UserId, token: str) -> dict[str, str]:
    return {"user_id": user_id, "token": token}


def row_read(key: Mapping[str, str], *, eventual: bool = False) -> Read[Item | None]:
    """Return the read of an item of this table. An `eventual` read may miss a very recent write, and costs
    half as much.
    """
    return Read(TABLE, key, lambda item: item, eventual=eventual)


def write(user_id: UserId, device_id: DeviceId, positions: Positions) -> str:
    """Store positions, and return the token that names them."""
    made = (now_ms() // 1000 % _TIMES).to_bytes(3, "big")
    token = f"{PLAIN}{urlsafe_b64encode(made).decode()}{secrets.token_urlsafe(9)}"
    item = {
        **token_key(user_id, token),
        "device_id": device_id,
        "positions": positions.dump(),
        "expires": now_ms() // 1000 + LIFETIME_S,
    }
    dynamodb.execute(dynamodb.put(TABLE, item))
    return token


def is_ending(item: StoredItem | None) -> bool:
    """Return whether a row has less than half of its time left, so that a new one has to be written."""
    return item is None or item["expires"] <= now_ms() // 1000 + LIFETIME_S // 2


def positions_of(item: StoredItem | None, device_id: DeviceId | Literal[""]) -> Positions | None:
    """Return the positions in a token's item, without later moves; None for an unknown or expired token.

    For another device's token the rooms' positions are used, but not the position in the device's messages.
    """
    if item is None or item["expires"] <= now_ms() // 1000:
        return None
    positions = Positions.load(item["positions"])
    if item["device_id"] != device_id:
        positions.device = 0
    return positions


def is_fresh(token: str) -> bool:
    """Return whether a plain token claims to be very recent.

    This is only a hint, because the token isn't verified yet: it decides the order in which things are read.
    """
    found = token_forms.ANY.fullmatch(token)
    if found is None or len(found["plain"] or "") != ROW_LENGTH:
        return False
    made = int.from_bytes(urlsafe_b64decode(found["plain"][:TIME_LENGTH]), "big")
    return (now_ms() // 1000 - made) % _TIMES <= FRESH_S


def read(user_id: UserId, token: str, device_id: DeviceId | Literal[""] = "") -> Positions | None:
    """Return the positions that `token` names; None if it has expired. Raises InvalidParam."""
    row = positions_of(dynamodb.get(TABLE, token_key(user_id, parse(token))), device_id)
    return moves.apply(row, moves_in(token)) if row is not None else None


def room_position(user_id: UserId, token: str, room_id: RoomId) -> int | None:
    """Return the ordinal up to which the token's client has seen a room's log.

    None if the token has no position in the room. Raises InvalidParam for an unknown token.
    """
    positions = read(user_id, token)
    if positions is None:
        raise InvalidParam("The token is not known")
    position = positions.rooms.get(room_hash(user_id, room_id))
    return position.ordinal if position is not None else None
