"""Moves: what a client was shown since its row of positions was written, as text in its marks.

Mostly a called client gets updates of one room. Writing its positions again would cost as much as all its
reads, and its answer would wait for that. So the mark contains the positions in rooms that changed since the
row was written. A new row is written when the text becomes too long, or when something else in the positions
has changed. The text isn't trusted: with a forged one a client only repeats or misses updates that its user
may see anyway.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from typing import Any

from murmuration.storage.live import positions
from murmuration.storage.live.positions import Positions, RoomPosition

LONGEST = 320
"""The maximum length in characters, for about six rooms. Each request of a waiting client contains it."""
_LARGEST = 1 << 53


def encode(row: Positions, now: Positions) -> str | None:
    """Return the text of the moves from `row` to `now`; None if it would be too long or isn't possible."""
    others = replace(now, rooms=row.rooms, typing_until_ms=row.typing_until_ms)
    if others != row or now.rooms.keys() != row.rooms.keys():
        return None
    if now.rooms == row.rooms and now.typing_until_ms == row.typing_until_ms:
        return ""
    moved: list[list[Any]] = []
    for name, position in now.rooms.items():
        before = row.rooms[name]
        known = len(before.members)
        if position.members[:known] != before.members:
            return None
        if position != before:
            unread = [[thread, *pair] for thread, pair in position.unread.items()]
            members = "".join(position.members[known:])
            moved.append([name, position.ordinal, position.seq, unread, members])
    text = json.dumps([moved, now.typing_until_ms], separators=(",", ":"))
    encoded = urlsafe_b64encode(text.encode()).decode().rstrip("=")
    return encoded if len(encoded) <= LONGEST else None


def apply(row: Positions, text: str) -> Positions:
    """Return the positions in `row`, changed by the moves in `text`. Invalid text changes nothing."""
    moved = row.copy()
    if not text:
        return moved
    try:
        rooms, typing = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        for name, ordinal, seq, unread, members in rooms:
            before = moved.rooms.pop(name)
            counts = {str(thread): (_number(n), _number(h)) for thread, n, h in unread}
            marks = (*before.members, *positions.split(members))
            moved.rooms[name] = RoomPosition(_number(ordinal), _number(seq), counts, marks)
        moved.typing_until_ms = {str(name): _number(until) for name, until in typing.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return row.copy()
    return moved


def _number(value: object) -> int:
    """Return a number that can be stored. Raises ValueError."""
    if type(value) is not int or not -_LARGEST < value < _LARGEST:
        raise ValueError("no number")
    return value
