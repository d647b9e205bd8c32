"""Sequenced streams: one item for each thing. Its `seq` grows with each change, without gaps in a stream.

A stream belongs to a room (receipts, typing, device lists, presence), a user (account data) or a device
(to-device messages). The stream's head counts, and moves in the same transaction as the items. So a reader
who has read up to the head has seen every change. An item that changes again moves to the end: a reader gets
the newest form of each thing once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.calls import note_retry
from murmuration.aws.dynamodb import ConditionFailed, Item, Page, StoredItem, Write
from murmuration.aws.reads import Read

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import DeviceId, RoomId, UserId

TABLE = "streams"
HEAD = "head"
NUDGE = "nudge"
ROOM = "of_room"
"""The attribute of a nudge that names a room in which the user's membership changed without an event."""
ATTEMPTS = 40


def room_stream(room_id: RoomId) -> str:
    return f"room:{room_id}"


def user_stream(user_id: UserId) -> str:
    return f"user:{user_id}"


def device_stream(user_id: UserId, device_id: DeviceId) -> str:
    return f"device:{user_id}/{device_id}"


def owner_of(item: StoredItem) -> tuple[str, str]:
    """Return the owner of an item's stream: its kind ("room", "user" or "device"), and the room, user, or
    user/device.
    """
    kind, _, owner = str(item["stream_id"]).partition(":")
    return kind, owner


def seq_of(item: StoredItem) -> int:
    """Return the sequence number of an item's last change."""
    return int(item["seq"])


def seq_read(stream: str) -> Read[int]:
    """Return the read of the newest sequence number of a user's or device's stream; a room's is in
    its head.
    """
    return Read(TABLE, head_key(stream), head_seq)


def head_location(stream: str) -> tuple[str, dict[str, str]]:
    """Return the table and the key of the item that has a stream's head.

    A room's stream is counted in the room's own head, so one read shows a sync whether anything changed
    there.
    """
    kind, _, owner = stream.partition(":")
    if kind == "room":
        return "rooms", {"room_id": owner, "sk": HEAD}
    return TABLE, head_key(stream)


def head_key(stream: str) -> dict[str, str]:
    """Return the key, in this table, of the head of a user's or device's stream."""
    return {"stream_id": stream, "sk": HEAD}


def head_seq(head: StoredItem | None) -> int:
    """Return the sequence number in a head item; 0 for a stream that never changed."""
    return int(head.get("seq_head", 0)) if head else 0


def read_head(stream: str) -> int:
    """Return the sequence number of a stream's last change."""
    table, key = head_location(stream)
    return head_seq(dynamodb.get(table, key))


def get(stream: str, key: str) -> Item | None:
    return dynamodb.get(TABLE, {"stream_id": stream, "sk": key})


def read_after(stream: str, seq: int, *, limit: int | None = None) -> list[Item]:
    """Return the items that changed after `seq`, in the order of their last change."""
    return dynamodb.query(
        TABLE,
        "stream_id = :stream AND seq > :seq",
        {":stream": stream, ":seq": seq},
        index="by-seq",
        limit=limit,
    )


def read_some_after(stream: str, seq: int, head: int, most_bytes: int) -> tuple[list[Item], int]:
    """Return items that changed after `seq` up to `head`, and the number of the last one returned.

    They have about `most_bytes` in total, but at least one is returned. If all fit, the number is `head`.
    """
    pages = dynamodb.query_pages(
        TABLE,
        "stream_id = :stream AND seq BETWEEN :low AND :high",
        {":stream": stream, ":low": seq + 1, ":high": head},
        index="by-seq",
    )
    items, left_out = _first_of(pages, most_bytes)
    return items, head if left_out is None else items[-1]["seq"]


def read_prefix(stream: str, prefix: str, limit: int | None = None) -> list[Item]:
    """Return at most `limit` items whose key begins with `prefix`, sorted by key."""
    return dynamodb.query(
        TABLE,
        "stream_id = :stream AND begins_with(sk, :prefix)",
        {":stream": stream, ":prefix": prefix},
        limit=limit,
    )


def read_newest(stream: str, head: int, limit: int) -> list[Item]:
    """Return the last changed items up to the number `head`, at most `limit`, the newest first."""
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
    """Return items whose key begins with `prefix`, from the key `first` on, and the key from which to
    continue.

    They have about `most_bytes` in total, but at least one is returned. The key is None if nothing is left.
    """
    pages = dynamodb.query_pages(
        TABLE,
        "stream_id = :stream AND sk BETWEEN :first AND :last",
        {":stream": stream, ":first": max(prefix, first), ":last": prefix + "\U0010ffff"},
    )
    items, left_out = _first_of(pages, most_bytes)
    return items, None if left_out is None else left_out["sk"]


def _first_of(pages: Iterable[Page], most_bytes: int) -> tuple[list[Item], Item | None]:
    """Return the first items, about `most_bytes` but at least one, and the item after them; None at the
    end.
    """
    items: list[Item] = []
    size = 0
    for item in (item for page in pages for item in page.items):
        size += sum(len(value) if isinstance(value, str) else 16 for value in item.values())
        if items and size > most_bytes:
            return items, item
        items.append(item)
    return items, None


@dataclass(frozen=True, slots=True)
class Change:
    """An item of a stream that has just changed, as the Streams worker gets it.

    `stream` is the whole name; `kind` and `owner` are its parts (`owner_of`). `user_id` is the user who
    changed it, if the item says so; `event` is a to-device message as JSON; `data_type` is the type of
    account data. A `quiet` change wakes nobody.
    """

    stream: str
    kind: str
    owner: str
    key: str
    quiet: bool
    user_id: UserId | None
    event: str | None
    data_type: str | None
    item: StoredItem


def changes_among(items: Iterable[StoredItem]) -> list[Change]:
    """Return the changes among new items of this table, without items that have no sequence number."""
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
    """Return the writes that add `items` (each with `sk`) after `head`, for a transaction.

    The first write is the head's, on condition that the head is `head`: if it is refused, another writer was
    quicker. `bytes_head` is the size of all earlier items of the stream, if that is counted.
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
    """Append the items that `make_items` returns, and return the new head.

    `make_items` is called again after a lost race. `more` are further writes in the same transaction, or a
    function that makes them and is called after `make_items`. If `make_items` returns nothing, nothing is
    written. Raises ConditionFailed if one of `more` is refused.
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


def rows_changed_among(items: Iterable[StoredItem]) -> list[Change]:
    """Return the changes in users' streams about a membership in a room that this server isn't in."""
    return [each for each in changes_among(items) if each.kind == "user" and ROOM in each.item]


def nudge(stream: str) -> None:
    """Make readers that wait on a stream look again, because of a change that is stored elsewhere."""
    append(stream, lambda: [{"sk": NUDGE}])


def pause(attempt: int) -> None:
    """Wait after lost race number `attempt`: a random time up to 20 ms, doubling to 200 ms."""
    note_retry()
    time.sleep(random.uniform(0, min(0.2, 0.02 * 2**attempt)))
