"""The places at which walks through a space continue: items `hierarchy#<name>` of `transient`, kept for an
hour.
"""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from murmuration.aws import dynamodb
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId

TABLE = "transient"
LIFETIME_S = 3600
MOST_BYTES = 300_000
"""The maximum size of a compressed walk. A larger one is stored without the servers of its rooms."""


class Place(NamedTuple):
    """A room in a walk: its depth, servers that know it, and the space whose child it is."""

    room_id: RoomId
    level: int
    via: Sequence[str] = ()
    parent: RoomId | Literal[""] = ""


@dataclass(slots=True)
class Walk:
    """A walk from a root: its filters, the rooms to visit (the next one last), and all rooms seen so far."""

    root: str
    depth: int
    suggested_only: bool
    stack: list[Place]
    seen: set[str]


def write(user_id: UserId, walk: Walk) -> str:
    """Store a user's walk, and return its name."""
    name = secrets.token_urlsafe(12)
    packed = _pack(walk, walk.stack)
    if len(packed) > MOST_BYTES:
        packed = _pack(walk, [place._replace(via=()) for place in walk.stack])
    item = {"id": f"hierarchy#{name}", "user_id": user_id, "walk": packed}
    dynamodb.execute(dynamodb.put(TABLE, {**item, "expires": now_ms() // 1000 + LIFETIME_S}))
    return name


def _pack(walk: Walk, stack: Sequence[Place]) -> bytes:
    value = [walk.root, walk.depth, walk.suggested_only, stack, sorted(walk.seen)]
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode())


def read(user_id: UserId, name: str) -> Walk | None:
    """Return a user's walk by its name; None if there is none."""
    item = dynamodb.get(TABLE, {"id": f"hierarchy#{name}"})
    if item is None or item["user_id"] != user_id or item["expires"] * 1000 <= now_ms():
        return None
    root, depth, suggested_only, stack, seen = json.loads(zlib.decompress(item["walk"]))
    return Walk(root, depth, suggested_only, [Place(*each) for each in stack], set(seen))
