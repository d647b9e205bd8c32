"""Receipts. A public one is an item of the room's stream, a private one of the user's stream.

A user has one for each room, type and thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws.dynamodb import Item, StoredItem
from murmuration.aws.reads import Read, fetch_all
from murmuration.storage import counts
from murmuration.storage.live import streams

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, UserId

PREFIX = "receipt#"
READ, PRIVATE = "m.read", "m.read.private"
READ_TYPES = (READ, PRIVATE)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The position up to which a user has read a room, or one thread of it, and at what time
    (milliseconds).
    """

    room_id: RoomId
    user_id: UserId
    receipt_type: str
    event_id: EventId
    ordinal: int
    ts: int
    thread_id: str | None = None

    def as_item(self) -> Item:
        """Return the item without the position in the stream, which `streams.append` adds."""
        key = receipt_key(self.user_id, self.room_id, self.receipt_type, self.thread_id)
        item: Item = {
            "sk": key["sk"],
            "room_id": self.room_id,
            "user_id": self.user_id,
            "receipt_type": self.receipt_type,
            "event_id": self.event_id,
            "ordinal": self.ordinal,
            "ts": self.ts,
        }
        return item if self.thread_id is None else {**item, "thread_id": self.thread_id}


def receipt_key(user_id: UserId, room_id: RoomId, receipt_type: str, thread_id: str | None) -> dict[str, str]:
    """Return the key of a receipt in the table `streams`."""
    if receipt_type == PRIVATE:
        key = f"{PREFIX}{room_id}#{receipt_type}#{thread_id or ''}"
        return {"stream_id": streams.user_stream(user_id), "sk": key}
    key = f"{PREFIX}{receipt_type}#{thread_id or ''}#{user_id}"
    return {"stream_id": streams.room_stream(room_id), "sk": key}


def count_key(user_id: UserId, room_id: RoomId, receipt_type: str) -> dict[str, str]:
    """Return the key of the item that counts a user's receipts by thread in a room."""
    if receipt_type == PRIVATE:
        return {"stream_id": streams.user_stream(user_id), "sk": f"{PREFIX}{room_id}#{counts.SK}"}
    return {"stream_id": streams.room_stream(room_id), "sk": f"{counts.SK}#{user_id}"}


def receipt_read(
    user_id: UserId, room_id: RoomId, receipt_type: str, thread_id: str | None
) -> Read[Receipt | None]:
    """Return the read of a receipt; `thread_id` is None for a receipt of the whole room."""
    key = receipt_key(user_id, room_id, receipt_type, thread_id)
    return Read(streams.TABLE, key, lambda item: _from_item(item) if item is not None else None)


def read_own(user_id: UserId, room_id: RoomId, thread_ids: Iterable[str | None]) -> list[Receipt]:
    """Return a user's public and private read receipts in these threads; None stands for the whole room."""
    found = fetch_all(
        [
            receipt_read(user_id, room_id, receipt_type, thread_id)
            for thread_id in dict.fromkeys(thread_ids)
            for receipt_type in READ_TYPES
        ]
    )
    return [receipt for receipt in found if receipt is not None]


def is_receipt(item: StoredItem) -> bool:
    """Return whether an item of a stream is a receipt."""
    return "receipt_type" in item


def receipts_among(items: Iterable[StoredItem], types: Collection[str] | None = None) -> list[Receipt]:
    """Return the receipts of these types, or of any, among items of streams, in their order."""
    return [
        _from_item(item)
        for item in items
        if (receipt_type := item.get("receipt_type")) is not None and (types is None or receipt_type in types)
    ]


def _from_item(item: StoredItem) -> Receipt:
    return Receipt(
        item["room_id"],
        item["user_id"],
        item["receipt_type"],
        item["event_id"],
        int(item["ordinal"]),
        item["ts"],
        item.get("thread_id"),
    )
