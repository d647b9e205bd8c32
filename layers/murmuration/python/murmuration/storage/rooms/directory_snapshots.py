"""Snapshots of the room directory, from which pages are read: items `directory#<name>` of `transient`."""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

TABLE = "transient"
LIFETIME_S = 3600


@dataclass(frozen=True, slots=True)
class DirectorySnapshot:
    """The rooms that a search found, in order, and the number of rooms in a page."""

    room_ids: Sequence[RoomId]
    limit: int


def write(snapshot: DirectorySnapshot) -> str:
    """Store a snapshot and return its name."""
    name = secrets.token_urlsafe(12)
    packed = zlib.compress(json.dumps(list(snapshot.room_ids), separators=(",", ":")).encode())
    item = {
        "id": f"directory#{name}",
        "room_ids": packed,
        "limit": snapshot.limit,
        "expires": now_ms() // 1000 + LIFETIME_S,
    }
    dynamodb.execute(dynamodb.put(TABLE, item))
    return name


def read(name: str) -> DirectorySnapshot | None:
    """Return a snapshot by its name; None if it is unknown or expired."""
    item = dynamodb.get(TABLE, {"id": f"directory#{name}"})
    if item is None or item["expires"] * 1000 <= now_ms():
        return None
    return DirectorySnapshot(json.loads(zlib.decompress(item["room_ids"])), item["limit"])
