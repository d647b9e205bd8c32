"""Limits the messages that wait for a device: those in its stream of to-device messages.

The stream's head counts all messages and bytes ever sent, and each message has the number of bytes before it.
So the head and the oldest message show how much waits. That is checked when a count passes a multiple of a
step. If a function stops between storing messages and checking, the inbox stays too long until the next step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import StoredItem, Write
from murmuration.storage.live import streams

PREFIX = "message#"
MOST_MESSAGES = 20_000
MOST_BYTES = 100_000_000
STEP_MESSAGES = 200
STEP_BYTES = 1_000_000
MOST_DELETED = 1_000
"""How many messages one check deletes. The rest is deleted at the next step."""

Items = Sequence[StoredItem]


@dataclass(frozen=True, slots=True)
class Head:
    """How many messages and bytes a device's stream has had so far."""

    seq: int
    size: int

    @property
    def steps(self) -> tuple[int, int]:
        """How many whole steps the counts have reached: of messages, and of bytes."""
        return self.seq // STEP_MESSAGES, self.size // STEP_BYTES


def read_heads(names: Sequence[str]) -> dict[str, Head]:
    """Return the heads of these streams. One round trip."""
    keys = [streams.head_key(stream) for stream in names]
    found = {item["stream_id"]: item for item in dynamodb.batch_get({streams.TABLE: keys})[streams.TABLE]}
    return {
        stream: Head(streams.head_seq(item := found.get(stream)), int((item or {}).get("bytes_head", 0)))
        for stream in names
    }


def append_writes(stream: str, head: Head, items: Items) -> list[Write]:
    """Return the writes that put messages after `head`; see `streams.append_writes`."""
    counted, size = [], head.size
    for item in items:
        counted.append({**item, "before": size})
        size += _size(item)
    return streams.append_writes(stream, head.seq, counted, bytes_head=size)


def trim(appended: Mapping[str, tuple[Head, Items]]) -> None:
    """Delete the oldest messages of streams that have grown beyond the limits.

    `appended` has each stream's earlier head and the messages added after it. If no step was passed, it reads
    nothing, otherwise one small item.
    """
    for stream, (head, items) in appended.items():
        now = Head(head.seq + len(items), head.size + sum(map(_size, items)))
        if now.steps != head.steps:
            _trim(stream, now)


def _trim(stream: str, head: Head) -> None:
    oldest = _surplus(stream, head, 1)
    keys = _surplus(stream, head, MOST_DELETED) if oldest else []
    dynamodb.batch_write([dynamodb.delete(streams.TABLE, {"stream_id": stream, "sk": key}) for key in keys])


def _surplus(stream: str, head: Head, most: int) -> list[str]:
    """Return the keys of up to `most` of the oldest messages that exceed a bound."""
    page = dynamodb.query_page(
        streams.TABLE,
        "stream_id = :stream AND seq > :seq",
        {":stream": stream, ":seq": 0},
        index="by-seq",
        attributes=("sk", "seq", "before"),
        limit=most,
    )
    return [item["sk"] for item in page.items if _is_surplus(item, head)]


def _is_surplus(item: StoredItem, head: Head) -> bool:
    if not item["sk"].startswith(PREFIX):
        return False
    bytes_before = int(item.get("before", head.size))
    return head.seq - int(item["seq"]) >= MOST_MESSAGES or head.size - bytes_before > MOST_BYTES


def _size(item: StoredItem) -> int:
    return len(item["event"].encode())
