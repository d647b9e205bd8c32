"""Rooms in other servers' answers: only the specification's fields, checked and bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard, cast

from murmuration.protocol.encoding.canonical_json import MAX_INTEGER
from murmuration.protocol.identifiers import is_valid_room_id
from murmuration.rooms.reading.summaries import texts_of

if TYPE_CHECKING:
    from murmuration.rooms.json_types import ListedTexts, RoomListing, RoomSummary

MOST_ALLOWED = 20
"""How many rooms, whose members may join a restricted room, are considered."""


def is_sendable(text: object) -> TypeGuard[str]:
    """Return whether `text` is a string that can be encoded as UTF-8. JSON may contain lone surrogates."""
    if not isinstance(text, str):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_count(value: object) -> TypeGuard[int]:
    """Return whether a value can be a number of rooms or members."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER


def listing_of(told: object) -> RoomListing | None:
    """Return a room from another server's directory; None if it isn't valid."""
    if not isinstance(told, dict):
        return None
    room_id, joined = told.get("room_id"), told.get("num_joined_members")
    if not is_sendable(room_id) or not is_valid_room_id(room_id):
        return None
    count = joined if is_count(joined) else 0
    return {
        "room_id": room_id,
        "num_joined_members": count,
        "world_readable": told.get("world_readable") is True,
        "guest_can_join": told.get("guest_can_join") is True,
        **_texts(told),
    }


def summary_of(told: object) -> RoomSummary | None:
    """Return a room's summary as another server gives it; None if it isn't valid."""
    listed = listing_of(told)
    if listed is None or not isinstance(told, dict):
        return None
    allowed = told.get("allowed_room_ids")
    rooms = [each for each in allowed if is_sendable(each)] if isinstance(allowed, list) else []
    known = [each for each in dict.fromkeys(rooms) if is_valid_room_id(each)][:MOST_ALLOWED]
    words = {
        name: value
        for name in ("room_version", "encryption")
        if is_sendable(value := told.get(name)) and 0 < len(value) <= 255
    }
    allowing = {"allowed_room_ids": known} if known else {}
    return cast("RoomSummary", {**listed, **words, **allowing})


def _texts(told: Mapping[str, object]) -> ListedTexts:
    return cast("ListedTexts", {name: text for name, text in texts_of(told).items() if is_sendable(text)})
