"""A space's room and the rooms right below it, for another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from murmuration.aws.reads import fetch_all
from murmuration.federation.inbound import acls
from murmuration.identity import rate_limits
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import Forbidden, NotFound
from murmuration.protocol.event_types import SERVER_ACL_KEY
from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.reading import summaries
from murmuration.rooms.room import Room, prefetch
from murmuration.storage.rooms import member_index, room_items

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content

MOST_SUMMARIES = 200
"""How many children are told of; the others can be asked for one by one."""
MOST_ALLOWED = 20
"""Of how many rooms that a join rule names the members are looked at."""


def get_hierarchy(origin: ServerName, room_id: RoomId, *, suggested_only: bool) -> Answer:
    """Return the room, the children that users of `origin` may see or join, and those that they may not.

    Children that this server doesn't take part in are left out: others know of them. Raises NotFound for a
    room that this server isn't in or that `origin`'s users may not see or join, Forbidden for a server that
    the room's ACL denies, LimitExceeded.
    """
    rate_limits.check("federation_directory", origin)
    found = _load([room_id])
    if room_id not in found:
        raise NotFound("There is no such room")
    room = found[room_id]
    if not acls.is_allowed(room, origin):
        raise Forbidden("The room's access control list denies your server")
    if not _may_know(origin, room):
        raise NotFound("There is no such room")
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
    """Of these rooms, the summaries of those that `origin` may know of, and the IDs of those it may not."""
    children: list[Content] = []
    inaccessible: list[str] = []
    for room_id, room in _load(room_ids).items():
        if not (acls.is_allowed(room, origin) and _may_know(origin, room)):
            inaccessible.append(room_id)
            continue
        summary = summaries.summary(room)
        if not budget.take(json_bytes(summary) + 1):
            break
        children.append(summary)
    return children, inaccessible


def _load(room_ids: Iterable[RoomId]) -> dict[str, Room]:
    """Return those of the rooms that this server is in, with what is asked of them, in two round trips."""
    wanted = [room_id for room_id in dict.fromkeys(room_ids) if fits_id(room_id)]
    heads = fetch_all([room_items.head_read(room_id) for room_id in wanted])
    rooms = {str(head.room_id): Room(head) for head in heads if head is not None and head.is_resident}
    prefetch(list(rooms.values()), [*summaries.SUMMARISED, SERVER_ACL_KEY])
    return rooms


def _may_know(origin: ServerName, room: Room) -> bool:
    """Return whether somebody of `origin` may see or join the room, or is in it or invited to it.

    Of a restricted room that is so if somebody of theirs is in one of the rooms whose members may join.
    """
    if not room.federates:
        return False
    if summaries.is_open(room):
        return True
    if member_index.read_of_server(room.head, origin, limit=1):
        return True
    allowed = [each for each in dict.fromkeys(summaries.allowed_of(room)) if fits_id(each)][:MOST_ALLOWED]
    heads = fetch_all([room_items.head_read(room_id) for room_id in allowed])
    return any(Room(head).is_server_joined(origin) for head in heads if head is not None and head.is_resident)
