"""Account data: one item of the user's stream for each type, of the account or of a room.

The content is one JSON string: DynamoDB's numbers are not JSON's, and nothing here is looked for by content.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import ConditionFailed, Item
from murmuration.aws.reads import Read, fetch_all
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import InvalidParam, TooLarge
from murmuration.storage import counts
from murmuration.storage.live import streams

PREFIX = "data#"
FULLY_READ = "m.fully_read"
"""The type of a room's read marker."""
TAG = "m.tag"
FEW_ROOMS, ITEMS_A_ROOM = 4, 10
"""Up to how many rooms are asked for one by one; how many items a room has that is like others."""
MAX_KEY_BYTES = 1024
MAX_CONTENT_BYTES = 350_000
"""What an item, limited to 400 KB, holds beside its key."""
MOST = 10_000
"""How many pieces a user may have: each is a type, of the account or of one room."""


def data_key(room_id: str, data_type: str) -> str:
    """The key within the user's stream; `room_id` is "" for the account's own. Raises InvalidParam."""
    key = f"{PREFIX}{room_id}#{data_type}"
    if len(key.encode()) > MAX_KEY_BYTES:
        raise InvalidParam("The type of the account data is too long")
    return key


def read(user_id: str, room_id: str, data_type: str) -> dict[str, Any] | None:
    """The content, or None where there is none."""
    item = streams.get(streams.user_stream(user_id), data_key(room_id, data_type))
    return content_of(item) if item else None


def read_room(user_id: str, room_id: str) -> dict[str, dict[str, Any]]:
    """All that a user keeps about a room, tags too: contents by type. One query."""
    items = streams.read_prefix(streams.user_stream(user_id), data_key(room_id, ""))
    return {str(item["type"]): content_of(item) for item in items}


def read_tags(user_id: str, room_ids: Sequence[str]) -> dict[str, set[str]]:
    """The names of the tags that a user gave each of these rooms; one round trip a hundred rooms."""
    contents = fetch_all([content_read(user_id, room_id, TAG) for room_id in room_ids])
    found: dict[str, set[str]] = {}
    for room_id, content in zip(room_ids, contents, strict=True):
        tags = (content or {}).get("tags")
        found[room_id] = set(tags) if isinstance(tags, dict) else set()
    return found


def read_about_rooms(user_id: str, room_ids: Sequence[str]) -> dict[str, list[Item]]:
    """All items of a user's stream about each of these rooms: their data, and their private receipts.

    Of many rooms all that the user has is read, where that isn't much more than what is asked for.
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


def read_account(user_id: str, first: str, most_bytes: int) -> tuple[list[Item], str | None]:
    """The items of the account's own data from the key `first` on, and the key of what doesn't fit."""
    return streams.read_some_of_prefix(streams.user_stream(user_id), data_key("", ""), first, most_bytes)


def content_read(user_id: str, room_id: str, data_type: str) -> Read[dict[str, Any] | None]:
    """Read the content of one type of account data; `room_id` is "" for the account's own."""
    key = {"stream_id": streams.user_stream(user_id), "sk": data_key(room_id, data_type)}
    return Read(streams.TABLE, key, lambda item: content_of(item) if item is not None else None)


def content_of(item: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(item["content"])
    return content


def write(user_id: str, room_id: str, data_type: str, content: Mapping[str, Any]) -> None:
    """Set the content. Raises TooLarge, also for one type too many, BadJson, InvalidParam."""
    item = _item(room_id, data_type, content)
    is_new = streams.get(streams.user_stream(user_id), item["sk"]) is None
    _append(user_id, lambda: [item], lambda: is_new)


def change(
    user_id: str,
    room_id: str,
    data_type: str,
    make: Callable[[dict[str, Any] | None], Mapping[str, Any] | None],
) -> None:
    """Set the content to what `make` makes of the old one; None leaves it.

    Of changes at the same time none is lost: each is made of what the one before left behind. Raises
    TooLarge, BadJson, InvalidParam, and what `make` raises.
    """

    is_new = False

    def items() -> list[dict[str, Any]]:
        nonlocal is_new
        before = read(user_id, room_id, data_type)
        is_new = before is None
        content = make(before)
        return [] if content is None else [_item(room_id, data_type, content)]

    _append(user_id, items, lambda: is_new)


def _append(user_id: str, items: Callable[[], list[dict[str, Any]]], is_new: Callable[[], bool]) -> None:
    """Append to the user's stream, and count what `is_new`. Raises TooLarge for one too many."""
    stream = streams.user_stream(user_id)
    key = {"stream_id": stream, "sk": counts.SK}
    try:
        streams.append(
            stream,
            items,
            more=lambda: [counts.count_write(streams.TABLE, key, "data", MOST)] if is_new() else [],
        )
    except ConditionFailed as error:
        if not error.refused(counts.COUNT):
            raise
        raise TooLarge(f"An account may have {MOST} pieces of account data") from error


def _item(room_id: str, data_type: str, content: Mapping[str, Any]) -> dict[str, Any]:
    encoded = canonical_json.encode(content, strict=False)
    if len(encoded) > MAX_CONTENT_BYTES:
        raise TooLarge(f"Account data may have {MAX_CONTENT_BYTES} bytes, not {len(encoded)}")
    return {
        "sk": data_key(room_id, data_type),
        "room_id": room_id,
        "type": data_type,
        "content": encoded.decode(),
    }
