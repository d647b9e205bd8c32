"""Older events, by the graph: the events that come before given ones.

https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from murmuration.federation.serving.access import open_room
from murmuration.federation.serving.answers import Size
from murmuration.federation.serving.events import transaction
from murmuration.federation.serving.visibility import pdus_for
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Body
from murmuration.protocol.errors import MissingParam
from murmuration.protocol.events import Event
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.room import Room
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.rooms.event_store import StoredEvent

if TYPE_CHECKING:
    from murmuration.federation.shapes import MissingEventsAnswer, TransactionBody
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName
    from murmuration.protocol.pdus.shapes import Pdu

MOST_BACKFILLED = 100
MOST_MISSING = 20
MOST_STARTS = 20
MOST_BYTES = 4_000_000
_MOST_READS = 40


def backfill(
    origin: ServerName, room_id: RoomId, event_ids: Sequence[EventId], limit: int
) -> TransactionBody:
    """Return these events and earlier ones, the newest first, up to `limit` (100 at most).

    Raises MissingParam, NotFound, Forbidden.
    """
    if not event_ids:
        raise MissingParam("v is missing: the events to begin with")
    room = open_room(room_id, origin)
    walk = _Walk(room)
    found = walk.go(event_ids[:MOST_STARTS], min(limit, MOST_BACKFILLED))
    return transaction(_fitting(room, origin, found))


def get_missing_events(origin: ServerName, room_id: RoomId, body: Body) -> MissingEventsAnswer:
    """Return the events before `latest_events` and after `earliest_events`, the oldest first.

    Raises BadJson, MissingParam, NotFound, Forbidden.
    """
    fields = Fields(body)
    earliest, latest = fields.event_ids("earliest_events"), fields.event_ids("latest_events")
    limit = min(fields.integer("limit", 10), MOST_MISSING)
    min_depth = fields.integer("min_depth", 0)
    room = open_room(room_id, origin)
    walk = _Walk(room, stop=earliest, min_depth=min_depth)
    starts = walk.read(latest[:MOST_STARTS])
    walk.stop |= {stored.event.event_id for stored in starts}
    found = walk.go([it for stored in starts for it in stored.event.prev_events], limit)
    return {"events": list(reversed(_fitting(room, origin, found)))}


def _fitting(room: Room, origin: ServerName, found: Sequence[StoredEvent]) -> list[Pdu]:
    """Return the PDUs of the first events, as many as fit into an answer."""
    size = Size(MOST_BYTES)
    kept = []
    for stored in found:
        if not size.take(len(stored.event.to_json().encode())):
            break
        kept.append(stored)
    return pdus_for(room, origin, kept)


class _Walk:
    """A walk from events to those before them, the deepest first. Rejected events are skipped."""

    def __init__(self, room: Room, *, stop: Collection[EventId] = (), min_depth: int = 0) -> None:
        self.room = room
        self.stop = set(stop)
        self._min_depth = min_depth
        self._known: dict[EventId, StoredEvent] = {}
        self._reads = 0

    def go(self, starts: Iterable[EventId], limit: int) -> list[StoredEvent]:
        """Return up to `limit` events, including `starts`. Soft-failed events are included if others follow
        them.
        """
        found: list[StoredEvent] = []
        waiting: list[tuple[int, int, EventId]] = []
        seen = set(self.stop)
        layer = [event_id for event_id in dict.fromkeys(starts) if event_id not in seen]
        while len(found) < limit:
            seen.update(layer)
            for stored in self.read(layer):
                event = stored.event
                if event.depth >= self._min_depth:
                    heapq.heappush(waiting, (-event.depth, -event.origin_server_ts, event.event_id))
            if not waiting:
                break
            stored = self._known[heapq.heappop(waiting)[2]]
            if stored.kind != "rejected":
                found.append(stored)
            layer = [it for it in dict.fromkeys(stored.event.prev_events) if it not in seen]
        return found

    def read(self, event_ids: Iterable[EventId]) -> list[StoredEvent]:
        """Return those events that are known to be in the room. Events near them in the log are read too."""
        wanted = [it for it in event_ids if fits_id(it)]
        unknown = [event_id for event_id in wanted if event_id not in self._known]
        if unknown and self._reads < _MOST_READS:
            self._reads += 1
            read = event_store.read(unknown, self.room.version, self.room.room_id)
            here = {it: stored for it, stored in read.items() if self._belongs(stored)}
            self._known |= here
            lowest = [stored.entry.ordinal for stored in here.values() if stored.entry is not None]
            if lowest:
                self._read_below(max(lowest))
        return [self._known[event_id] for event_id in wanted if event_id in self._known]

    def _belongs(self, stored: StoredEvent) -> bool:
        return stored.room_id == self.room.room_id and stored.is_placed

    def _read_below(self, ordinal: int) -> None:
        room = self.room
        entries = room_items.read_log_page(
            room.room_id, room.version, after=room.head.oldest - 1, before=ordinal,
            limit=MOST_BACKFILLED, forward=False,
        )  # fmt: skip
        for entry in entries:
            event: Event = entry.event
            self._known.setdefault(
                event.event_id, StoredEvent(event, room.room_id, "accepted", entry.state_root, entry)
            )
