"""Receipts of other servers' users whose events aren't known yet, until they are tried again.

Of each user and thread in a room only the last receipt is kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.storage import parked

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import StoredItem
    from murmuration.protocol.identifiers import RoomId, ServerName
    from murmuration.storage.json_types import StoredReceipt

FIRST_MS = 60_000
_RECEIPTS = "receipts"


@dataclass(frozen=True, slots=True)
class ParkedReceipt:
    """A receipt that `origin` sent, and when it is tried next."""

    room_id: RoomId
    origin: ServerName
    receipt: StoredReceipt
    due_ms: int
    attempts: int
    expires_ms: int


def park(room_id: RoomId, origin: ServerName, receipt: StoredReceipt) -> None:
    """Park a receipt in place of the user's former one, unless the same is parked already."""
    item = parked.item_of(_key(room_id, receipt), room_id, receipt["event_id"], origin, receipt, FIRST_MS)
    is_new = "attribute_not_exists(sk) OR event_id <> :event"
    write = dynamodb.put(parked.TABLE, item, condition=is_new, values={":event": receipt["event_id"]})
    dynamodb.try_execute(write)


def read_due(limit: int) -> list[ParkedReceipt]:
    """Return the receipts to try now or to drop, the first due first."""
    return [_parse(item) for item in parked.read_due(_RECEIPTS, limit)]


def postpone(receipt: ParkedReceipt) -> bool:
    """Set the time of the next attempt, three times as far away. Returns False if another caller did, or the
    user has a later receipt.
    """
    attempts = receipt.attempts + 1
    delay_ms = FIRST_MS * 3 ** min(attempts, 6)
    return parked.postpone(_key(receipt.room_id, receipt.receipt), receipt.due_ms, attempts, delay_ms)


def remove(room_id: RoomId, receipt: StoredReceipt) -> None:
    """Delete a receipt that was stored or given up, unless the user has a later one."""
    dynamodb.try_execute(
        dynamodb.delete(
            parked.TABLE,
            _key(room_id, receipt),
            condition="event_id = :event",
            values={":event": receipt["event_id"]},
        )
    )


def _parse(item: StoredItem) -> ParkedReceipt:
    return ParkedReceipt(
        item["room_id"],
        item["origin"],
        json.loads(item["json"]),
        item["due_ms"],
        item["attempts"],
        item["expires"] * 1000,
    )


def _key(room_id: RoomId, receipt: StoredReceipt) -> dict[str, str]:
    thread_id = receipt["thread_id"] or ""
    return {"pk": _RECEIPTS, "sk": f"{room_id}#{receipt['user_id']}#{thread_id}"}
