"""How large a room may be that a user of this server joins by another, as the operator set it.

A large room costs money all day long. Servers tell how complex a room is before it is joined, if they know
the question; how many members it has shows in their answer to the join.
"""

from __future__ import annotations

from murmuration.federation.membership.answers import Entry
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import RequestFailed
from murmuration.protocol.errors import Forbidden
from murmuration.settings import settings

SECONDS = 5.0
EVENTS_PER_COMPLEXITY = 500
"""Servers count the events of the state, and tell that number divided by this."""


def check_complexity(server: str, room_id: str) -> None:
    """Raises Forbidden for a room whose state has more events than a room may have members.

    A server that doesn't tell is not asked again here: the members count when they are known.
    """
    most = settings().federation_max_members
    if not most:
        return
    path = client.path("_matrix", "federation", "unstable", "rooms", room_id, "complexity")
    try:
        answer = client.request(server, "GET", path, seconds=SECONDS, max_bytes=65_536, for_user=True)
    except RequestFailed:
        return
    complexity = answer.get("v1")
    if isinstance(complexity, (int, float)) and complexity * EVENTS_PER_COMPLEXITY > 2 * most:
        raise _refusal(f"its state has some {int(complexity * EVENTS_PER_COMPLEXITY):,} events", most)


def check_members(entry: Entry) -> None:
    """Raises Forbidden for a room with more members than the operator lets a room have."""
    most = settings().federation_max_members
    if most and (joined := entry.joined()) > most:
        raise _refusal(f"it has {joined:,} members", most)


def _refusal(fact: str, most: int) -> Forbidden:
    return Forbidden(
        f"The room is too large for this server: {fact}. Its operator lets users join rooms of other "
        f"servers with up to {most:,} members (the setting federation_max_members)"
    )
