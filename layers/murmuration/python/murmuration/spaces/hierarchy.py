"""The hierarchy of a space: its rooms, depth first, page by page.

Rooms that this server doesn't take part in are left out.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from murmuration.aws.reads import fetch_all
from murmuration.identity.tokens import Requester
from murmuration.protocol.errors import Forbidden, InvalidParam
from murmuration.protocol.events import Event
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.reading import summaries
from murmuration.rooms.room import Room, prefetch
from murmuration.storage.rooms import hierarchy_places, room_items
from murmuration.storage.rooms.hierarchy_places import Walk

CHILD, SPACE = "m.space.child", "m.space"
DEFAULT, MOST = 50, 100
DEEPEST = 20
MOST_CHILDREN = 1_000
"""How many children of one space are looked at."""
MOST_ROOMS = 2_000
"""How many rooms a walk looks at, over all its pages."""
AHEAD = 50
"""How many rooms are read together."""


def get_space_hierarchy(
    requester: Requester,
    room_id: str,
    *,
    limit: int,
    max_depth: int | None,
    suggested_only: bool,
    start: str | None,
) -> dict[str, Any]:
    """Return a page of the rooms below a space that the requester may know of, the space first.

    Raises Forbidden for a space they may not know of, InvalidParam for an unknown token, or if `max_depth` or
    `suggested_only` changed since the first page.
    """
    depth = DEEPEST if max_depth is None else min(max_depth, DEEPEST)
    walk = _begin(requester, room_id, depth, suggested_only, start)
    rooms: dict[str, Room | None] = {}
    found: list[dict[str, Any]] = []
    budget = Budget(LIST_BYTES)
    while walk.stack and len(found) < limit:
        current, level = walk.stack[-1]
        if current not in rooms:
            rooms = _load(requester, [each for each, _ in walk.stack[: -AHEAD - 1 : -1]])
        room = rooms.get(current)
        shown = _entry(requester, room, suggested_only) if room is not None else None
        if shown is not None and not budget.take(json_bytes(shown) + 1):
            break
        walk.stack.pop()
        if shown is None:
            if level == 0:
                raise Forbidden("You may not know of this room, or there is none")
            continue
        found.append(shown)
        if level < depth:
            _push_children(walk, shown["children_state"], level + 1)
    more = {"next_batch": hierarchy_places.write(requester.user_id, walk)} if walk.stack else {}
    return {"rooms": found, **more}


def _begin(requester: Requester, room_id: str, depth: int, suggested_only: bool, start: str | None) -> Walk:
    if start is None:
        if not fits_id(room_id):
            raise Forbidden("You may not know of this room, or there is none")
        return Walk(room_id, depth, suggested_only, [(room_id, 0)], {room_id})
    walk = hierarchy_places.read(requester.user_id, start)
    if walk is None or walk.root != room_id:
        raise InvalidParam("from is not a token of this hierarchy, or has expired")
    if (walk.depth, walk.suggested_only) != (depth, suggested_only):
        raise InvalidParam("suggested_only and max_depth can't change from page to page")
    return walk


def _load(requester: Requester, room_ids: Sequence[str]) -> dict[str, Room | None]:
    """Rooms with what their summaries need, in two round trips; None for those that aren't known."""
    heads = fetch_all([room_items.head_read(room_id) for room_id in room_ids])
    rooms = {
        room_id: Room(head) if head is not None else None
        for room_id, head in zip(room_ids, heads, strict=True)
    }
    known = [room for room in rooms.values() if room is not None]
    prefetch(known, [*summaries.SUMMARISED, ("m.room.member", requester.user_id)])
    return rooms


def _entry(requester: Requester, room: Room, suggested_only: bool) -> dict[str, Any] | None:
    """A room as the hierarchy shows it; None if it isn't for the requester to know of."""
    membership = room.membership(requester.user_id)
    if membership == "ban" or not summaries.may_know(requester, room, membership):
        return None
    shown = summaries.summary(room)
    children = _children(room, suggested_only) if shown.get("room_type") == SPACE else []
    return {**shown, "children_state": [_stripped(event) for event in children]}


def _children(room: Room, suggested_only: bool) -> list[Event]:
    """The events that name a space's children, in their order."""
    entries = room_items.read_state_of_type(room.room_id, room.version, CHILD)
    events = [entry.event for entry in entries if _is_child(entry.event.content, suggested_only)]
    return sorted(events, key=_order)[:MOST_CHILDREN]


def _is_child(content: Mapping[str, Any], suggested_only: bool) -> bool:
    via = content.get("via")
    is_valid = isinstance(via, list) and bool(via) and all(isinstance(each, str) for each in via)
    return is_valid and (not suggested_only or content.get("suggested") is True)


def _order(event: Event) -> tuple[bool, str, int, str]:
    """Children with a valid `order` first, by that; then by their events' times, and IDs."""
    order = event.content.get("order")
    if not isinstance(order, str) or len(order) > 50 or not all(" " <= each <= "~" for each in order):
        return True, "", event.origin_server_ts, str(event.state_key)
    return False, order, event.origin_server_ts, str(event.state_key)


def _stripped(event: Event) -> dict[str, Any]:
    return {
        "type": event.type,
        "state_key": event.state_key,
        "content": event.content,
        "sender": event.sender,
        "origin_server_ts": event.origin_server_ts,
    }


def _push_children(walk: Walk, children: Sequence[Mapping[str, Any]], level: int) -> None:
    """Have the children come next, the first on top; a room comes once."""
    new = []
    for child in children:
        room_id = child["state_key"]
        if room_id not in walk.seen and len(walk.seen) < MOST_ROOMS and fits_id(room_id):
            walk.seen.add(room_id)
            new.append((room_id, level))
    walk.stack.extend(reversed(new))
