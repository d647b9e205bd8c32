"""Sequenced streams: one item per thing, whose `seq` moves with each change, dense within the stream.

A stream belongs to a room (receipts, typing, device lists, presence), a user (account data) or a device
(to-device messages). The stream's head counts; it moves in the same transaction as the items, so whoever
has read up to the head has seen every change. An item that changes again moves to the end: a reader gets
the newest form of each thing once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.aws.calls import note_retry
from murmuration.aws.dynamodb import ConditionFailed, Item, StoredItem, Write
from murmuration.aws.reads import Read

TABLE = "streams"
HEAD = "head"
NUDGE = "nudge"
ATTEMPTS = 40


def room_stream(room_id: str) -> str:
    return f"room:{room_id}"


def user_stream(user_id: str) -> str:
    return f"user:{user_id}"


def device_stream(user_id: str, device_id: str) -> str:
    return f"device:{user_id}/{device_id}"


def owner_of(item: StoredItem) -> tuple[str, str]:
    """Return whose stream an item is in: "room", "user" or "device", and the room, user, or user/device."""
    kind, _, owner = str(item["stream_id"]).partition(":")
    return kind, owner


def seq_of(item: StoredItem) -> int:
    """Return the sequence number of an item's last change."""
    return int(item["seq"])


def seq_read(stream: str) -> Read[int]:
    """Read the sequence number at which a user's or device's stream stands; a room's is in its head."""
    return Read(TABLE, head_key(stream), head_seq)


def head_location(stream: str) -> tuple[str, dict[str, str]]:
    """The table and key of the item that has a stream's head.

    A room's stream counts in the room's own head, so that one read tells a sync whether anything moved there.
    """
    kind, _, owner = stream.partition(":")
    if kind == "room":
        return "rooms", {"room_id": owner, "sk": HEAD}
    return TABLE, head_key(stream)


def head_key(stream: str) -> dict[str, str]:
    """The key in this table of the head of a user's or device's stream, for a BatchGetItem with others."""
    return {"stream_id": stream, "sk": HEAD}


def head_seq(head: StoredItem | None) -> int:
    """The sequence number that a head item stands at; 0 for a stream that never moved."""
    return int(head.get("seq_head", 0)) if head else 0


def read_head(stream: str) -> int:
    """The sequence number the stream stands at."""
    table, key = head_location(stream)
    return head_seq(dynamodb.get(table, key))


def get(stream: str, key: str) -> Item | None:
    return dynamodb.get(TABLE, {"stream_id": stream, "sk": key})


def read_after(stream: str, seq: int, *, limit: int | None = None) -> list[Item]:
    """The items changed after `seq`, in the order of their last change."""
    return dynamodb.query(
        TABLE,
        "stream_id = :stream AND seq > :seq",
        {":stream": stream, ":seq": seq},
        index="by-seq",
        limit=limit,
    )


def read_some_after(stream: str, seq: int, head: int, most_bytes: int) -> tuple[list[Item], int]:
    """The items changed after `seq`, up to `head`, and where they end: at `head`, unless they are too many.

    They have about `most_bytes`; one item comes in any case.
    """
    items: list[Item] = []
    size, after = 0, None
    while True:
        page = dynamodb.query_page(
            TABLE,
            "stream_id = :stream AND seq BETWEEN :low AND :high",
            {":stream": stream, ":low": seq + 1, ":high": head},
            index="by-seq",
            after=after,
        )
        for item in page.items:
            size += sum(len(value) if isinstance(value, str) else 16 for value in item.values())
            if items and size > most_bytes:
                return items, items[-1]["seq"]
            items.append(item)
        after = page.more
        if after is None:
            return items, head


def read_prefix(stream: str, prefix: str, limit: int | None = None) -> list[Item]:
    """The items whose key begins with `prefix`, by key; at most `limit`."""
    return dynamodb.query(
        TABLE,
        "stream_id = :stream AND begins_with(sk, :prefix)",
        {":stream": stream, ":prefix": prefix},
        limit=limit,
    )


def read_newest(stream: str, head: int, limit: int) -> list[Item]:
    """The items that changed last up to the sequence number `head`, at most `limit`, the newest first."""
    page = dynamodb.query_page(
        TABLE,
        "stream_id = :stream AND seq <= :head",
        {":stream": stream, ":head": head},
        index="by-seq",
        limit=limit,
        forward=False,
    )
    return page.items


def read_some_of_prefix(
    stream: str, prefix: str, first: str, most_bytes: int
) -> tuple[list[Item], str | None]:
    """The items whose key begins with `prefix`, from the key `first` on, and the key of what doesn't fit.

    They have about `most_bytes`; one item comes in any case. The key is None where nothing is left.
    """
    items: list[Item] = []
    size, after = 0, None
    while True:
        page = dynamodb.query_page(
            TABLE,
            "stream_id = :stream AND sk BETWEEN :first AND :last",
            {":stream": stream, ":first": max(prefix, first), ":last": prefix + "\U0010ffff"},
            after=after,
        )
        for item in page.items:
            size += sum(len(value) if isinstance(value, str) else 16 for value in item.values())
            if items and size > most_bytes:
                return items, item["sk"]
            items.append(item)
        after = page.more
        if after is None:
            return items, None


@dataclass(frozen=True, slots=True)
class Change:
    """An item of a stream that has just changed, as the Streams worker gets it.

    `stream` is the whole name, `kind` and `owner` say whose it is (`owner_of`). `user_id` is who is said to
    have changed it, if the item says so; `event` is a to-device message in JSON, `data_type` the type of
    account data. A `quiet` change wakes nobody.
    """

    stream: str
    kind: str
    owner: str
    key: str
    quiet: bool
    user_id: str | None
    event: str | None
    data_type: str | None
    item: StoredItem


def changes_among(items: Iterable[StoredItem]) -> list[Change]:
    """Return the changes that have a place in a stream's order among new items of this table."""
    return [
        Change(
            item["stream_id"],
            *owner_of(item),
            item["sk"],
            bool(item.get("quiet")),
            item.get("user_id"),
            item.get("event"),
            item.get("type"),
            item,
        )
        for item in items
        if "seq" in item
    ]


def append_writes(
    stream: str, head: int, items: Sequence[StoredItem], *, bytes_head: int | None = None
) -> list[Write]:
    """The writes that put `items` (each with `sk`) behind `head`, for a transaction with others.

    The first write is the head's, conditioned on `head`: when it fails, another writer was quicker.
    `bytes_head` is what the stream's items have had so far in all, where that is counted.
    """
    table, key = head_location(stream)
    change, size = ("SET seq_head = :new", {}) if bytes_head is None else _counting(bytes_head)
    writes = [
        dynamodb.update(
            table,
            key,
            change,
            values={":new": head + len(items)} | ({":old": head} if head else {}) | size,
            condition="seq_head = :old" if head else "attribute_not_exists(seq_head)",
        )
    ]
    writes += [
        dynamodb.put(TABLE, {**item, "stream_id": stream, "seq": head + offset})
        for offset, item in enumerate(items, start=1)
    ]
    return writes


def _counting(bytes_head: int) -> tuple[str, dict[str, int]]:
    return "SET seq_head = :new, bytes_head = :bytes", {":bytes": bytes_head}


def append(
    stream: str,
    make_items: Callable[[], Sequence[StoredItem]],
    *,
    more: Sequence[Write] | Callable[[], Sequence[Write]] = (),
) -> int:
    """Append what `make_items` returns (called again after a lost race); the new head.

    `more` are further writes of the same transaction; a function that makes them is called after
    `make_items`. Nothing is written when `make_items` returns nothing.
    Raises ConditionFailed if one of those is refused.
    """
    for attempt in range(ATTEMPTS):
        head = read_head(stream)
        items = make_items()
        if not items:
            return head
        writes = append_writes(stream, head, items)
        try:
            others = more() if callable(more) else more
            named = [write if write.name else write.named("more") for write in others]
            dynamodb.transact([*writes, *named], patient=False)
        except ConditionFailed as error:
            if error.named().names:
                raise error.named() from error
            pause(attempt)
            continue
        return head + len(items)
    raise ConditionFailed()


def nudge(stream: str) -> None:
    """Have those who wait for news of a stream look again, for what is written elsewhere."""
    append(stream, lambda: [{"sk": NUDGE}])


def pause(attempt: int) -> None:
    """Wait after the lost race number `attempt`: full jitter, up to 20 ms doubling to 200 ms."""
    note_retry()
    time.sleep(random.uniform(0, min(0.2, 0.02 * 2**attempt)))
