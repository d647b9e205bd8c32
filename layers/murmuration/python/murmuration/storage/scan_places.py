"""The positions that a scan of several rooms' logs has reached: items `scan#<name>` of `transient`, kept for
an hour.
"""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

TABLE = "transient"
LIFETIME_S = 3600

Places = Mapping[str, int]
"""The ordinal below which the scan continues, by room."""


def write(user_id: UserId, purpose: str, places: Places) -> str:
    """Store the places of a user's scan, and return their name."""
    name = secrets.token_urlsafe(12)
    packed = zlib.compress(json.dumps(dict(places), separators=(",", ":")).encode())
    expires = now_ms() // 1000 + LIFETIME_S
    item = {"id": f"scan#{name}", "user_id": user_id, "purpose": purpose, "places": packed}
    dynamodb.execute(dynamodb.put(TABLE, {**item, "expires": expires}))
    return name


def read(user_id: UserId, purpose: str, name: str) -> dict[str, int] | None:
    """Return the places by their name; None if there are none for this user and purpose."""
    item = dynamodb.get(TABLE, {"id": f"scan#{name}"})
    if item is None or item["expires"] * 1000 <= now_ms():
        return None
    if (item["user_id"], item["purpose"]) != (user_id, purpose):
        return None
    return {str(room): int(place) for room, place in json.loads(zlib.decompress(item["places"])).items()}
