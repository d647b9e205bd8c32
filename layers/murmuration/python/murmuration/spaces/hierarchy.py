"""The hierarchy of a space: its rooms, depth first, page by page.

Other servers are asked about rooms that this server isn't in.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding.shapes import Answer, StrippedState
from murmuration.protocol.errors import Forbidden, InvalidParam
from murmuration.protocol.identifiers import RoomId
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.rooms.lookup import fits_id
from murmuration.spaces.looking_ahead import Lookout
from murmuration.storage.rooms import hierarchy_places
from murmuration.storage.rooms.hierarchy_places import Place, Walk
from murmuration.transport.deadlines import Deadline

if TYPE_CHECKING:
    from murmuration.spaces.looking_ahead import Entry

DEFAULT, MOST = 50, 100
DEEPEST = 20
MOST_ROOMS = 2_000
"""How many rooms a walk visits, over all its pages."""
AHEAD = 50
"""How many rooms are read together."""
MOST_VIA = 5
"""How many servers are stored for a room."""
SECONDS = 18.0
"""How long a page waits for other servers."""


def get_space_hierarchy(
    requester: Requester,
    room_id: RoomId,
    *,
    limit: int,
    max_depth: int | None,
    suggested_only: bool,
    start: str | None,
    via: Sequence[str] = (),
) -> Answer:
    """Return a page of the rooms below a space that the requester may see, the space first.

    `via` are servers that know the space, because newer room IDs name none. Raises Forbidden for a space that
    they may not see, LimitExceeded, InvalidParam for an unknown token, or if `max_depth` or `suggested_only`
    changed since the first page.
    """
    depth = DEEPEST if max_depth is None else min(max_depth, DEEPEST)
    walk = _begin(requester, Place(room_id, 0, via[:MOST_VIA]), depth, suggested_only, start)
    deadline = Deadline(SECONDS)
    lookout = Lookout(requester, deadline, suggested_only=suggested_only)
    found: list[Entry] = []
    budget = Budget(LIST_BYTES)
    while walk.stack and len(found) < limit:
        place = walk.stack[-1]
        if not lookout.knows(place.room_id):
            lookout.look(walk.stack[: -min(AHEAD, limit - len(found)) - 1 : -1])
        if not lookout.knows(place.room_id):
            break  # there was no time left for it
        shown = lookout.entry(place.room_id)
        if shown is not None and not budget.take(json_bytes(shown) + 1):
            break
        walk.stack.pop()
        if shown is None:
            if place.level == 0:
                raise Forbidden("The room doesn't exist, or you may not see it")
            continue
        found.append(shown)
        if place.level < depth:
            _push_children(walk, shown["children_state"], place)
    more = {"next_batch": hierarchy_places.write(requester.user_id, walk)} if walk.stack else {}
    return {"rooms": found, **more}


def _begin(requester: Requester, root: Place, depth: int, suggested_only: bool, start: str | None) -> Walk:
    if start is None:
        if not fits_id(root.room_id):
            raise Forbidden("The room doesn't exist, or you may not see it")
        return Walk(root.room_id, depth, suggested_only, [root], {root.room_id})
    walk = hierarchy_places.read(requester.user_id, start)
    if walk is None or walk.root != root.room_id:
        raise InvalidParam("from is not a token of this hierarchy, or has expired")
    if (walk.depth, walk.suggested_only) != (depth, suggested_only):
        raise InvalidParam("suggested_only and max_depth can't change from page to page")
    return walk


def _push_children(walk: Walk, children: Sequence[StrippedState], parent: Place) -> None:
    """Put the children on the stack, the first on top. Each room is visited once."""
    new = []
    for child in children:
        room_id = RoomId(child["state_key"])
        if room_id not in walk.seen and len(walk.seen) < MOST_ROOMS and fits_id(room_id):
            walk.seen.add(room_id)
            via = [server for server in child["content"]["via"] if len(server) <= 255][:MOST_VIA]
            new.append(Place(room_id, parent.level + 1, via, parent.room_id))
    walk.stack.extend(reversed(new))
