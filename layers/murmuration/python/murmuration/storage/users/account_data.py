"""Account data: one item of the user's stream for each type, of the account or of a room.

The content is one JSON string, because DynamoDB's numbers differ from JSON's, and nothing is looked up by
content.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, StoredItem, Write
from murmuration.aws.reads import Read, fetch_all
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.shapes import Content, JsonObject
from murmuration.protocol.errors import InvalidParam, TooLarge
from murmuration.protocol.event_types import TAG
from murmuration.storage import counts
from murmuration.storage.live import streams

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId

PREFIX = "data#"
FEW_ROOMS, ITEMS_A_ROOM = 4, 10
"""The maximum number of rooms to query one by one, and the number of items that a room is expected to
have."""
MAX_KEY_BYTES = 1024
MAX_CONTENT_BYTES = 350_000
"""The maximum size of a content. With its key it must fit into an item of 400 KB."""
MOST = 10_000
"""How many pieces a user may have. Each is one type, of the account or of one room."""
MOST_BYTES = 10_000_000
"""The maximum size of the contents of all pieces together, in bytes."""


def data_key(room_id: RoomId | Literal[""], data_type: str) -> str:
    """Return the key within the user's stream; `room_id` is "" for the account's own data.

    Raises InvalidParam.
    """
    key = f"{PREFIX}{room_id}#{data_type}"
    if len(key.encode()) > MAX_KEY_BYTES:
        raise InvalidParam("The type of the account data is too long")
    return key


def read(user_id: UserId, room_id: RoomId | Literal[""], data_type: str) -> JsonObject | None:
    """Return the content of one type; None if there is none."""
    item = streams.get(streams.user_stream(user_id), data_key(room_id, data_type))
    return content_of(item) if item else None


def read_room(user_id: UserId, room_id: RoomId) -> dict[str, JsonObject]:
    """Return all of a user's data about a room, including tags: contents by type. One query."""
    items = streams.read_prefix(streams.user_stream(user_id), data_key(room_id, ""))
    return {str(item["type"]): content_of(item) for item in items}


def read_all(user_id: UserId) -> list[tuple[str, str, JsonObject]]:
    """Return all of a user's account data as (room ID, type, content). The room ID is "" for the account's
    own.
    """
    items = streams.read_prefix(streams.user_stream(user_id), PREFIX)
    return [(room_of(item) or "", str(item["type"]), content_of(item)) for item in items if is_data(item)]


def read_tags(user_id: UserId, room_ids: Sequence[RoomId]) -> dict[str, set[str]]:
    """Return the names of the tags that a user gave each of these rooms. One round trip for a hundred."""
    contents = fetch_all([content_read(user_id, room_id, TAG) for room_id in room_ids])
    found: dict[str, set[str]] = {}
    for room_id, content in zip(room_ids, contents, strict=True):
        tags = (content or {}).get("tags")
        found[room_id] = set(tags) if isinstance(tags, dict) else set()
    return found


def read_about_rooms(user_id: UserId, room_ids: Sequence[RoomId]) -> dict[str, list[Item]]:
    """Return the items of a user's stream about each of these rooms: data and private receipts.

    For many rooms it reads all of the user's items, if these aren't many more than the requested ones.
    """
    found: dict[str, list[Item]] = {room_id: [] for room_id in room_ids}
    stream = streams.user_stream(user_id)
    if len(room_ids) > FEW_ROOMS:
        most = len(room_ids) * ITEMS_A_ROOM
        pages = [
            functools.partial(streams.read_prefix, stream, prefix, most) for prefix in (PREFIX, "receipt#")
        ]
        every = concurrency.parallel(*pages)
        if all(len(items) < most for items in every):
            for item in (item for items in every for item in items):
                if "seq" in item and item.get("room_id") in found:
                    found[item["room_id"]].append(item)
            return found
    prefixes = [
        (room_id, prefix) for room_id in room_ids for prefix in (f"{PREFIX}{room_id}#", f"receipt#{room_id}#")
    ]
    pages = [functools.partial(streams.read_prefix, stream, prefix) for _, prefix in prefixes]
    for (room_id, _), items in zip(prefixes, concurrency.parallel(*pages), strict=True):
        found[room_id] += [item for item in items if "seq" in item]
    return found


def read_account(user_id: UserId, first: str, most_bytes: int) -> tuple[list[Item], str | None]:
    """Return the items of the account's own data from the key `first` on, and the key from which to continue.

    The key is None if all items fit.
    """
    return streams.read_some_of_prefix(streams.user_stream(user_id), data_key("", ""), first, most_bytes)


def content_read(user_id: UserId, room_id: RoomId | Literal[""], data_type: str) -> Read[JsonObject | None]:
    """Return the read of the content of one type of account data; `room_id` is "" for the account's own."""
    key = {"stream_id": streams.user_stream(user_id), "sk": data_key(room_id, data_type)}
    return Read(streams.TABLE, key, lambda item: content_of(item) if item is not None else None)


def item_read(user_id: UserId, data_type: str) -> Read[Item | None]:
    """Return the read of the item of one type of the account's own data."""
    key = {"stream_id": streams.user_stream(user_id), "sk": data_key("", data_type)}
    return Read(streams.TABLE, key, lambda item: item)


def room_of(item: StoredItem) -> RoomId | None:
    """Return the room that an item of a user's stream is about; None for the account's own."""
    return item.get("room_id") or None


def is_data(item: StoredItem) -> bool:
    """Return whether an item of a user's stream is account data, of the account or of a room."""
    return "type" in item and "content" in item


def contents_among(items: Iterable[StoredItem]) -> dict[str, JsonObject]:
    """Return the contents of the account data among these items of a user's stream, by type."""
    return {str(item["type"]): content_of(item) for item in items if is_data(item)}


def content_of(item: StoredItem) -> JsonObject:
    """Return the content in an item of account data."""
    content: JsonObject = json.loads(item["content"])
    return content


def write(user_id: UserId, room_id: RoomId | Literal[""], data_type: str, content: Content) -> None:
    """Set the content. Raises TooLarge, also if there are too many pieces or bytes, BadJson, InvalidParam."""
    change(user_id, room_id, data_type, lambda _: content)


def change(
    user_id: UserId,
    room_id: RoomId | Literal[""],
    data_type: str,
    make: Callable[[JsonObject | None], Content | None],
) -> None:
    """Set the content to the one that `make` returns for the old one; if it returns None, change nothing.

    Concurrent changes are made one after another, so none is lost. Raises TooLarge, BadJson, InvalidParam,
    and what `make` raises.
    """
    stream = streams.user_stream(user_id)
    counting: list[Write] = []

    def items() -> list[Item]:
        before = streams.get(stream, data_key(room_id, data_type))
        content = make(content_of(before) if before else None)
        if content is None:
            return []
        item = _item(room_id, data_type, content)
        growth = len(item["content"].encode()) - (len(before["content"].encode()) if before else 0)
        counting[:] = _count_writes(stream, growth, is_new=before is None)
        return [item]

    try:
        streams.append(stream, items, more=lambda: counting)
    except ConditionFailed as error:
        if not error.refused(counts.COUNT):
            raise
        raise TooLarge(
            f"An account may have {MOST} pieces of account data, and {MOST_BYTES} bytes in all"
        ) from error


def _count_writes(stream: str, growth: int, *, is_new: bool) -> list[Write]:
    """Return the writes that count a new piece, and the additional bytes. Both counts are in one item."""
    if not is_new and not growth:
        return []
    conditions, values = [], {":new": int(is_new), ":growth": growth}
    if is_new:
        conditions.append("(attribute_not_exists(#data) OR #data < :most)")
        values[":most"] = MOST
    if growth > 0:
        conditions.append("(attribute_not_exists(data_bytes) OR data_bytes <= :left)")
        values[":left"] = MOST_BYTES - growth
    return [
        dynamodb.update(
            streams.TABLE,
            {"stream_id": stream, "sk": counts.SK},
            "ADD #data :new, data_bytes :growth",
            names={"#data": "data"},
            values=values,
            condition=" AND ".join(conditions) or None,
        ).named(counts.COUNT)
    ]


def _item(room_id: RoomId | Literal[""], data_type: str, content: Content) -> Item:
    encoded = canonical_json.encode(content, strict=False)
    if len(encoded) > MAX_CONTENT_BYTES:
        raise TooLarge(f"Account data may have {MAX_CONTENT_BYTES} bytes, not {len(encoded)}")
    return {
        "sk": data_key(room_id, data_type),
        "room_id": room_id,
        "type": data_type,
        "content": encoded.decode(),
    }
