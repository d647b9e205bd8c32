"""Splitting an update that is too large for one WebSocket message into several of the same form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from murmuration.aws.sockets import LARGEST_BYTES

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject

Update = dict[str, Any]
"""A part of /sync's answer, in the same form."""
LIMIT = LARGEST_BYTES - 8 * 1024


def split(update: JsonObject, since: str | None, *, limit: int = LIMIT) -> list[Update]:
    """Return messages that together have the content of `update`, each with at most `limit` bytes.

    A message with a single event that is larger exceeds the limit. All messages but the last have the token
    `since` (none for a first sync), so a client that reconnects before the last one gets everything again. A
    room's state comes before its timeline.
    """
    if _size(update) <= limit:
        return [dict(update)]
    token = {"next_batch": since} if since is not None else {}
    parts: list[Update] = []
    room_left = 0
    for fragment in _fragments(update):
        size = _size(fragment)
        if size > room_left:
            parts.append(dict(token))
            room_left = limit - 200
        _merge(parts[-1], fragment)
        room_left -= size
    parts[-1]["next_batch"] = update["next_batch"]
    return parts


def _fragments(update: JsonObject) -> Iterator[Update]:
    """Yield the update in small pieces, in the order in which the client needs them."""
    for name, section in update.items():
        if name == "rooms":
            for kind, rooms in section.items():
                for room_id, room in rooms.items():
                    pieces = _room(room) if kind in ("join", "leave") else iter([room])
                    yield from ({"rooms": {kind: {room_id: piece}}} for piece in pieces)
        elif name != "next_batch":
            yield from ({name: piece} for piece in _events(section))


def _room(room: JsonObject) -> Iterator[Update]:
    order = ("state", "state_after", "org.matrix.msc4222.state_after", "timeline")
    for name in (*order, *(name for name in room if name not in order)):
        if name in room:
            yield from ({name: piece} for piece in _events(room[name]))


def _events(section: object) -> Iterator[object]:
    """Yield a section event by event, if it has events. Its other fields come with the first one."""
    if not isinstance(section, Mapping) or not isinstance(section.get("events"), list):
        yield section
        return
    events = section["events"]
    yield {**section, "events": events[:1]}
    yield from ({"events": [event]} for event in events[1:])


def _merge(into: Update, fragment: JsonObject) -> None:
    for name, value in fragment.items():
        present = into.get(name)
        if isinstance(present, dict) and isinstance(value, Mapping):
            _merge(present, value)
        elif isinstance(present, list) and isinstance(value, list):
            present += value
        else:
            into[name] = _copy(value)


def _copy(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _copy(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, list) else value


def _size(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()) + 1
