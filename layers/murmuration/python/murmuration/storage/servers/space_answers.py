"""Other servers' answers about spaces: items `space#<room ID>` of `transient`, kept for a few minutes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item
from murmuration.aws.reads import Read, fetch_all
from murmuration.clock import now_ms
from murmuration.protocol.encoding.shapes import Answer, Body, JsonObject

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

TABLE = "transient"
MOST_BYTES = 300_000
"""The maximum size of a compressed item. A larger answer isn't stored."""


def read(room_ids: Sequence[RoomId]) -> dict[RoomId, JsonObject]:
    """Return the stored answers by room ID; an empty object means that no server had one. One round trip."""
    reads = [Read(TABLE, _key(room_id), _parse, eventual=True) for room_id in room_ids]
    found = fetch_all(reads)
    return {room_id: each for room_id, each in zip(room_ids, found, strict=True) if each is not None}


def write(room_id: RoomId, answer: Body, lifetime_s: int) -> None:
    """Store an answer for `lifetime_s`. Of two concurrent writes the last one wins."""
    packed = zlib.compress(json.dumps(answer, separators=(",", ":")).encode())
    if len(packed) <= MOST_BYTES:
        item = {**_key(room_id), "answer": packed, "expires": now_ms() // 1000 + lifetime_s}
        dynamodb.execute(dynamodb.put(TABLE, item))


def _parse(item: Item | None) -> JsonObject | None:
    if item is None or item["expires"] * 1000 <= now_ms():
        return None
    answer: Answer = json.loads(zlib.decompress(item["answer"]))
    return answer


def _key(room_id: RoomId) -> dict[str, str]:
    return {"id": f"space#{room_id}"}
