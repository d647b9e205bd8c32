"""Where a walk through a space goes on: items `hierarchy#<name>` of `transient`, for an hour."""

from __future__ import annotations

import json
import secrets
import zlib
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.clock import now_ms

TABLE = "transient"
LIFETIME_S = 3600


@dataclass(slots=True)
class Walk:
    """A walk from a root: its filters, the rooms to come (the next last) with depth, and all that came."""

    root: str
    depth: int
    suggested_only: bool
    stack: list[tuple[str, int]]
    seen: set[str]


def write(user_id: str, walk: Walk) -> str:
    """Keep a user's walk, and return its name."""
    name = secrets.token_urlsafe(12)
    value = [walk.root, walk.depth, walk.suggested_only, walk.stack, sorted(walk.seen)]
    packed = zlib.compress(json.dumps(value, separators=(",", ":")).encode())
    item = {"id": f"hierarchy#{name}", "user_id": user_id, "walk": packed}
    dynamodb.execute(dynamodb.put(TABLE, {**item, "expires": now_ms() // 1000 + LIFETIME_S}))
    return name


def read(user_id: str, name: str) -> Walk | None:
    """Return a user's walk by its name; None if there is none."""
    item = dynamodb.get(TABLE, {"id": f"hierarchy#{name}"})
    if item is None or item["user_id"] != user_id or item["expires"] * 1000 <= now_ms():
        return None
    root, depth, suggested_only, stack, seen = json.loads(zlib.decompress(item["walk"]))
    return Walk(root, depth, suggested_only, [(room, level) for room, level in stack], set(seen))
