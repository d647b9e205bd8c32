"""The complexity of a room's state, for a server whose operator limits the rooms that its users join.

Synapse asks for it if `limit_remote_rooms` is set, and this server does if `federation_max_members` is set
(`federation.membership.limits`). It isn't in the specification, so the path is Synapse's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.federation.serving.access import open_known_room
from murmuration.identity import rate_limits
from murmuration.protocol import state_trie
from murmuration.storage.rooms import snapshots

if TYPE_CHECKING:
    from murmuration.federation.shapes import ComplexityAnswer
    from murmuration.protocol.identifiers import RoomId, ServerName

EVENTS_PER_COMPLEXITY = 500
"""Servers count the events of the current state, and report that number divided by this."""


def get_complexity(origin: ServerName, room_id: RoomId) -> ComplexityAnswer:
    """Return the number of events in the room's current state, divided by `EVENTS_PER_COMPLEXITY`.

    Takes one read more than the check whether `origin` may ask, however large the state is. Raises NotFound
    for a room that this server isn't in or that `origin`'s users may not see or join, Forbidden for a server
    that the room's ACL denies, LimitExceeded.
    """
    rate_limits.check("federation_directory", origin)
    room = open_known_room(room_id, origin)
    events = state_trie.count(room.head.state_root, snapshots.fetch_from(room.room_id))
    return {"v1": round(events / EVENTS_PER_COMPLEXITY, 2)}
