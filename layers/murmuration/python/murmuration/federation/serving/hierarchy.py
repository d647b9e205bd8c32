"""A space's room and the rooms right below it, for another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.federation.inbound import acls
from murmuration.federation.serving.access import load_rooms, may_know, open_known_room
from murmuration.identity import rate_limits
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.rooms.reading import summaries

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content

MOST_SUMMARIES = 200
"""How many children an answer includes. Other servers can ask for the rest one by one."""


def get_hierarchy(origin: ServerName, room_id: RoomId, *, suggested_only: bool) -> Answer:
    """Return the room, the children that users of `origin` may see or join, and the IDs of those that they
    may not.

    Children that this server isn't in are left out: other servers know them. Raises NotFound for a room that
    this server isn't in or that `origin`'s users may not see or join, Forbidden for a server that the room's
    ACL denies, LimitExceeded.
    """
    rate_limits.check("federation_directory", origin)
    room = open_known_room(room_id, origin)
    shown = summaries.summary_with_children(room, suggested_only=suggested_only)
    budget = Budget(LIST_BYTES)
    budget.spend(json_bytes(shown))
    child_ids = dict.fromkeys(RoomId(child["state_key"]) for child in shown["children_state"])
    child_ids.pop(room_id, None)
    children, inaccessible = _children(origin, list(child_ids)[:MOST_SUMMARIES], budget)
    return {"room": shown, "children": children, "inaccessible_children": inaccessible}


def _children(
    origin: ServerName, room_ids: Sequence[RoomId], budget: Budget
) -> tuple[list[Content], list[str]]:
    """Return the summaries of the rooms that `origin` may see, and the IDs of those that it may not."""
    children: list[Content] = []
    inaccessible: list[str] = []
    for room_id, room in load_rooms(room_ids).items():
        if not (acls.is_allowed(room, origin) and may_know(room, origin)):
            inaccessible.append(room_id)
            continue
        summary = summaries.summary(room)
        if not budget.take(json_bytes(summary) + 1):
            break
        children.append(summary)
    return children, inaccessible
