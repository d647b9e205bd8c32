"""Receipts of local users in large rooms, until they are sent to other servers (table `destinations`).

In the partition `#receipts`, which can't be a server's name, a room has one item: an attribute for each user
and thread, with the newest receipt. `version` counts the changes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.storage.live.receipts import Receipt

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId
    from murmuration.storage.json_types import WaitingReceipt

TABLE = "destinations"
PARTITION = "#receipts"
_RECEIPT = "r_"


@dataclass(frozen=True, slots=True)
class Waiting:
    """The receipts of a room that wait to be sent."""

    room_id: RoomId
    receipts: list[WaitingReceipt]
    version: int


def _key(room_id: RoomId) -> dict[str, str]:
    return {"server_name": PARTITION, "sk": room_id}


def as_waiting(receipt: Receipt) -> WaitingReceipt:
    """Return the parts of a receipt that its EDU needs."""
    waiting: WaitingReceipt = {"user_id": receipt.user_id, "event_id": receipt.event_id, "ts": receipt.ts}
    if receipt.thread_id is not None:
        waiting["thread_id"] = receipt.thread_id
    return waiting


def add(room_id: RoomId, receipt: WaitingReceipt) -> None:
    """Store a receipt that is to be sent together with other receipts of its room.

    It replaces an older one of the same user and thread.
    """
    name = json.dumps([receipt["user_id"], receipt.get("thread_id")])
    attribute = _RECEIPT + hashlib.sha256(name.encode()).hexdigest()[:24]
    dynamodb.execute(
        dynamodb.update(
            TABLE,
            _key(room_id),
            "SET #receipt = :receipt ADD version :one",
            names={"#receipt": attribute},
            values={":receipt": json.dumps(receipt), ":one": 1},
        )
    )


def read(limit: int) -> list[Waiting]:
    """Return the waiting receipts, sorted by room. Eventually consistent."""
    items = dynamodb.query(
        TABLE, "server_name = :receipts", {":receipts": PARTITION}, consistent=False, limit=limit
    )
    return [
        Waiting(
            item["sk"],
            [json.loads(value) for name, value in item.items() if name.startswith(_RECEIPT)],
            item["version"],
        )
        for item in items
    ]


def remove(waiting: Waiting) -> None:
    """Delete a room's receipts, which are being sent. If another one came meanwhile, all stay."""
    write = dynamodb.delete(
        TABLE,
        _key(waiting.room_id),
        condition="version = :version",
        values={":version": waiting.version},
    )
    dynamodb.try_execute(write)
