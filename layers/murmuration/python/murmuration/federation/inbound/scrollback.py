"""Scrolling back beyond the events that this server has: it fetches older events from other servers.

A request that scrolls back over a gap, or to the beginning of the log, fetches events for a few seconds; only
one request of a room does so at a time. Then the client gets the events that are there. Events that other
servers don't have, or have only in an invalid form, aren't requested again for hours. So each request gets
the client further, or is the last one for a while.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from murmuration.identity.tokens import AccessToken
from murmuration.rooms.reading import timeline
from murmuration.rooms.reading.timeline import Filling, PageRequest
from murmuration.rooms.room import Room
from murmuration.transport.deadlines import Deadline

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId
    from murmuration.rooms.json_types import EventAtTime, TimelinePage

SECONDS = 5.0
LIMIT = 100
CLAIM_MS = 60_000
"""After this time another request may fetch, because the process of the first one may have ended."""
TOWARD_SECONDS = 15.0
"""The time limit of one request for an event by its time. After it, no more old events are requested."""
MOST_FILLS = 10
FEW_FILLS = 3
"""How often older events are requested if no other server knows an event of that time."""
MOST_GAPS = 100
AT_ONCE = 5


def get_messages(token: AccessToken, room_id: RoomId, request: PageRequest) -> TimelinePage:
    """Do the same as `timeline.get_messages`, but fetch missing old events from other servers first.

    Raises what `timeline.get_messages` raises.
    """
    return timeline.get_messages(token, room_id, request, fill)


def get_event_by_timestamp(token: AccessToken, room_id: RoomId, ts: int, *, forward: bool) -> EventAtTime:
    """Do the same as `by_timestamp.get_event_by_timestamp`, but fetch missing old events from other servers
    first.

    Raises the same errors. If events are missing around that time, another server is asked for the closest
    event, and older events are fetched up to that one, as far as the request has time. The next request
    continues there.
    """
    from murmuration.rooms.reading import by_timestamp

    toward = _Toward(ts, forward=forward)
    return by_timestamp.get_event_by_timestamp(token, room_id, ts, forward=forward, fill=toward.fill)


def fill(room: Room, low: int, high: int) -> Filling:
    """Fetch events that are missing between two places of the log, the newest first.

    Returns "filled" if any arrived, "later" while another request of this room is fetching them, else
    "nothing".
    """
    from murmuration.storage.servers import unobtainable

    if not room.head.is_resident:
        return "nothing"
    missing = _missing(room, low, high)
    marks = unobtainable.askable(room.room_id, [_mark(it) for it in missing]) if missing else []
    wanted = [it for it in missing if _mark(it) in set(marks)][:AT_ONCE]
    if not wanted:
        return "nothing"
    if not unobtainable.claim_backfill(room.room_id, CLAIM_MS):
        return "later"
    try:
        return "filled" if _fetch(room, wanted) else "nothing"
    finally:
        unobtainable.end_backfill(room.room_id)


class _Toward:
    """Fetches older events until the log has the event that another server has closest to a time."""

    def __init__(self, ts: int, *, forward: bool) -> None:
        self._ts = ts
        self._forward = forward
        self._began = False
        self._wanted: EventId | None = None
        self._fills = 0
        self._deadline = Deadline(TOWARD_SECONDS)

    def fill(self, room: Room, low: int, high: int) -> Filling:
        """Fetch more old events. Returns "nothing" if the event is there, or if this request has fetched
        enough.
        """
        if not room.head.is_resident or not _missing(room, low, high):
            return "nothing"
        if not self._began:
            self._began = True
            self._wanted = self._ask(room)
        most = MOST_FILLS if self._wanted is not None else FEW_FILLS
        if self._fills == most or self._deadline.is_over() or self._is_there(room):
            return "nothing"
        self._fills += 1
        return fill(room, low, high)

    def _ask(self, room: Room) -> EventId | None:
        from murmuration.federation.inbound.asking import Asking
        from murmuration.settings import settings

        asking = Asking(room, settings().server_name, SECONDS)
        return asking.closest(self._ts, forward=self._forward)

    def _is_there(self, room: Room) -> bool:
        from murmuration.storage.rooms import event_store

        return self._wanted is not None and bool(event_store.placed_among([self._wanted], room.room_id))


def _missing(room: Room, low: int, high: int) -> list[EventId]:
    """Return the IDs of events that are missing between two places, those nearest to `high` first.

    At the log's beginning these are the events that the oldest event follows, unless the room begins with it.
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


def _fetch(room: Room, wanted: list[EventId]) -> bool:
    from murmuration.federation.inbound.asking import Asking
    from murmuration.federation.inbound.backfilling import backfill
    from murmuration.federation.inbound.reception import Received
    from murmuration.protocol.errors import MatrixError
    from murmuration.settings import settings
    from murmuration.storage.rooms import event_store
    from murmuration.storage.servers import unobtainable

    remote = Asking(room, settings().server_name, SECONDS)
    pdus = remote.before(wanted, LIMIT)
    received: list[Received] = []
    with suppress(MatrixError):
        received = backfill(room.room_id, pdus, remote) if pdus else []
    remote.remember_failures()
    placed = event_store.placed_among(wanted, room.room_id)
    unobtainable.remember(room.room_id, [_mark(it) for it in wanted if it not in placed])
    return bool(received)


def _mark(event_id: EventId) -> str:
    """Return the name under which a failed backfill of an event is recorded: other requests for it may
    succeed.
    """
    return f"past {event_id}"
