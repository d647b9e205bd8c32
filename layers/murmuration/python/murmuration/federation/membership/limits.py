"""How large a room may be that a user of this server joins by another, as the operator set it.

A large room costs money all day long. Servers tell how complex a room is before it is joined, if they know
the question; how many members it has shows in their answer to the join. A room that this server is in costs
nothing more by one more join, so the limits aren't for it.
"""

from __future__ import annotations

from murmuration.federation.membership.answers import Entry
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import RequestFailed
from murmuration.protocol.errors import Forbidden
from murmuration.settings import settings
from murmuration.storage.rooms import room_items

SECONDS = 5.0
EVENTS_PER_COMPLEXITY = 500
"""Servers count the events of the state, and tell that number divided by this."""
_MOST_TOLD = 10**9
"""A number that a server told is shown to a user up to this."""


class RoomTooLarge(Forbidden):
    """The room has more members than it may have. Another server would tell the same."""


def limit_for(room_id: str) -> int:
    """Return how many members the room may have when it is joined by another server; 0 if there is no
    bound.
    """
    most = settings().federation_max_members
    head = room_items.read_head(room_id) if most else None
    return 0 if head is not None and head.is_resident else most


def check_complexity(server: str, room_id: str, most: int) -> None:
    """Raises Forbidden for a room whose state has more than twice as many events as it may have members.

    It is the server's own word, so another may be asked. One that doesn't tell is not asked again here: the
    members count when they are known.
    """
    if not most:
        return
    path = client.path("_matrix", "federation", "unstable", "rooms", room_id, "complexity")
    try:
        answer = client.request(server, "GET", path, seconds=SECONDS, max_bytes=65_536, for_user=True)
    except RequestFailed:
        return
    complexity = answer.get("v1")
    if isinstance(complexity, bool) or not isinstance(complexity, (int, float)):
        return
    events = complexity * EVENTS_PER_COMPLEXITY
    if events > 2 * most:
        fact = f"its state has some {min(events, _MOST_TOLD):,.0f} events"
        raise Forbidden(_refusal(fact, most))


def check_members(entry: Entry, most: int) -> None:
    """Raises RoomTooLarge for a room with more members than the operator lets a room have."""
    if most and (joined := entry.joined()) > most:
        raise RoomTooLarge(_refusal(f"it has {joined:,} members", most))


def _refusal(fact: str, most: int) -> str:
    return (
        f"The room is too large for this server: {fact}. Its operator lets users join rooms of other "
        f"servers with up to {most:,} members (the setting federation_max_members)"
    )
