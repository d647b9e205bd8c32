"""The operator's limits for the size of a room that a local user joins through another server.

A large room costs money all day long. Many servers report how complex a room is before it is joined. The
number of its members is known from their answer to the join. Rooms that this server is in already aren't
limited, because another join adds no cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.federation.membership.answers import Entry
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import RequestFailed
from murmuration.federation.serving.complexity import EVENTS_PER_COMPLEXITY
from murmuration.protocol.errors import Forbidden
from murmuration.settings import settings
from murmuration.storage.rooms import room_items

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName

SECONDS = 5.0
_MOST_TOLD = 10**9
"""A number that another server reported is shown to a user up to this value."""


class RoomTooLarge(Forbidden):
    """The room has more members than the limit. Other servers aren't asked: they would give the same
    number.
    """


def limit_for(room_id: RoomId) -> int:
    """Return how many members the room may have when it is joined through another server; 0 for no limit."""
    most = settings().federation_max_members
    head = room_items.read_head(room_id) if most else None
    return 0 if head is not None and head.is_resident else most


def check_complexity(server: ServerName, room_id: RoomId, most: int) -> None:
    """Raise Forbidden if `server` says that the room's state has more than twice `most` events.

    The caller may then ask another server. If a server doesn't answer the question, nothing is raised: the
    members are checked after the join's answer.
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
    """Raise RoomTooLarge if the room has more than `most` members."""
    if most and (joined := entry.joined()) > most:
        raise RoomTooLarge(_refusal(f"it has {joined:,} members", most))


def _refusal(fact: str, most: int) -> str:
    return (
        f"The room is too large for this server: {fact}. Its operator lets users join rooms of other "
        f"servers with up to {most:,} members (the setting federation_max_members)"
    )
