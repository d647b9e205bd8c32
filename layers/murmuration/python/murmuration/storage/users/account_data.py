"""Account data: one item of the user's stream for each type, of the account or of a room.

The content is one JSON string: DynamoDB's numbers are not JSON's, and nothing here is looked for by content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from murmuration.aws.reads import Read
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import InvalidParam, TooLarge
from murmuration.storage.live import streams

PREFIX = "data#"
MAX_KEY_BYTES = 1024
MAX_CONTENT_BYTES = 350_000
"""What an item, limited to 400 KB, holds beside its key."""


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


def content_read(user_id: str, room_id: str, data_type: str) -> Read[dict[str, Any] | None]:
    """Read the content of one type of account data; `room_id` is "" for the account's own."""
    key = {"stream_id": streams.user_stream(user_id), "sk": data_key(room_id, data_type)}
    return Read(streams.TABLE, key, lambda item: content_of(item) if item is not None else None)


def content_of(item: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(item["content"])
    return content


def write(user_id: str, room_id: str, data_type: str, content: Mapping[str, Any]) -> None:
    """Set the content. Raises TooLarge, BadJson, InvalidParam."""
    item = _item(room_id, data_type, content)
    streams.append(streams.user_stream(user_id), lambda: [item])


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

    def items() -> list[dict[str, Any]]:
        content = make(read(user_id, room_id, data_type))
        return [] if content is None else [_item(room_id, data_type, content)]

    streams.append(streams.user_stream(user_id), items)


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
