"""The rooms right below a space, as its state names them.

https://spec.matrix.org/v1.19/client-server-api/#mspacechild-relationship
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from murmuration.protocol.events import Event
from murmuration.rooms.reading import summaries
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items

CHILD, SPACE = "m.space.child", "m.space"
MOST_CHILDREN = 1_000
"""How many children of one space are looked at."""


def is_child(content: Mapping[str, Any], *, suggested_only: bool) -> bool:
    """Whether the content of an m.space.child event names a child: it has servers by which to join it."""
    via = content.get("via")
    is_valid = isinstance(via, list) and bool(via) and all(isinstance(each, str) for each in via)
    return is_valid and (not suggested_only or content.get("suggested") is True)


def in_order(children: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Stripped m.space.child events as clients show them, the first `MOST_CHILDREN`.

    Those with a valid `order` come first, by that; then all by their events' times, and room IDs.
    """
    return sorted(children, key=_order)[:MOST_CHILDREN]


def _order(child: Mapping[str, Any]) -> tuple[bool, str, int, str]:
    order = child["content"].get("order")
    if not isinstance(order, str) or len(order) > 50 or not all(" " <= each <= "~" for each in order):
        return True, "", child["origin_server_ts"], child["state_key"]
    return False, order, child["origin_server_ts"], child["state_key"]


def summary_with_children(room: Room, *, suggested_only: bool) -> dict[str, Any]:
    """A room's summary with `children_state`, which is empty for a room that is no space."""
    shown = summaries.summary(room)
    children = _children(room, suggested_only) if shown.get("room_type") == SPACE else []
    return {**shown, "children_state": children}


def _children(room: Room, suggested_only: bool) -> list[Mapping[str, Any]]:
    entries = room_items.read_state_of_type(room.room_id, room.version, CHILD)
    events = [
        entry.event for entry in entries if is_child(entry.event.content, suggested_only=suggested_only)
    ]
    return in_order(_stripped(event) for event in events)


def _stripped(event: Event) -> dict[str, Any]:
    return {
        "type": event.type,
        "state_key": event.state_key,
        "content": event.content,
        "sender": event.sender,
        "origin_server_ts": event.origin_server_ts,
    }
