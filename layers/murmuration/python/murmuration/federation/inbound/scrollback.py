"""Scrolling back over what this server hasn't got: other servers are asked for the past.

It is asked for where a client's way back comes over a gap or to the beginning of the log, at most once a
minute for each room, and for a few seconds: then the client gets what is there. What other servers don't
have, or have in a form that isn't valid, isn't asked for again for hours.
"""

from __future__ import annotations

from typing import Any

from murmuration.identity.tokens import AccessToken
from murmuration.rooms.reading import timeline
from murmuration.rooms.reading.timeline import PageRequest
from murmuration.rooms.room import Room

SECONDS = 5.0
LIMIT = 100
WAIT_MS = 60_000
MOST_GAPS = 100
AT_ONCE = 5


def get_messages(token: AccessToken, room_id: str, request: PageRequest) -> dict[str, Any]:
    """`timeline.get_messages`, with the past of other servers. Raises what that raises."""
    return timeline.get_messages(token, room_id, request, fill)


def fill(room: Room, low: int, high: int) -> bool:
    """Fetch events that are missing between two places of the log, the newest first; whether any came."""
    from murmuration.storage.servers import unobtainable

    if not room.head.is_resident:
        return False
    missing = _missing(room, low, high)
    marks = unobtainable.askable(room.room_id, [_mark(it) for it in missing]) if missing else []
    wanted = [it for it in missing if _mark(it) in set(marks)][:AT_ONCE]
    if not wanted or not unobtainable.claim_backfill(room.room_id, WAIT_MS):
        return False
    return _fetch(room, wanted)


def _missing(room: Room, low: int, high: int) -> list[str]:
    """The events that are missing between two places, those nearest to `high` first.

    At the log's beginning that is what the oldest event follows, if the room doesn't begin with it.
    """
    from murmuration.storage.rooms import event_store, room_items

    gaps = event_store.read_gaps(room.room_id, limit=MOST_GAPS)
    between = {event_id: place for event_id, place in gaps.items() if low < place.ordinal <= high + 1}
    if between:
        known = event_store.placed_among(between, room.room_id)
        left = {event_id: place for event_id, place in between.items() if event_id not in known}
        if left:
            return sorted(left, key=lambda event_id: left[event_id], reverse=True)
    if low > room.head.oldest - 1:
        return []
    oldest = room_items.read_log(room.room_id, room.version, limit=1)
    previous = list(oldest[0].event.prev_events) if oldest else []
    known = event_store.placed_among(previous, room.room_id) if previous else set()
    return [event_id for event_id in previous if event_id not in known]


def _fetch(room: Room, wanted: list[str]) -> bool:
    from murmuration.federation.inbound.asking import Asking
    from murmuration.federation.inbound.backfilling import backfill
    from murmuration.protocol.errors import MatrixError
    from murmuration.settings import settings
    from murmuration.storage.rooms import event_store
    from murmuration.storage.servers import unobtainable

    remote = Asking(room, settings().server_name, SECONDS)
    pdus = remote.before(wanted, LIMIT)
    try:
        received = backfill(room.room_id, pdus, remote) if pdus else []
    except MatrixError:
        return False
    remote.remember_failures()
    placed = event_store.placed_among(wanted, room.room_id)
    unobtainable.remember(room.room_id, [_mark(it) for it in wanted if it not in placed])
    return bool(received)


def _mark(event_id: str) -> str:
    """What is remembered of an event that wasn't there to be backfilled, as other questions may have it."""
    return f"past {event_id}"
