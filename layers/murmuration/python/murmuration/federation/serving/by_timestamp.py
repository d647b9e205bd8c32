"""The event closest to a point in time, for another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.federation.serving.access import open_room
from murmuration.protocol.errors import NotFound
from murmuration.rooms.reading.by_timestamp import around, narrow

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName
    from murmuration.rooms.json_types import EventAtTime


def get_event_by_timestamp(origin: ServerName, room_id: RoomId, ts: int, *, forward: bool) -> EventAtTime:
    """Return the event closest to `ts` (milliseconds): not before it or, backward, not after it.

    An event's time reveals nothing of its content, so its visibility doesn't matter. Events that no client
    sees are left out. Raises NotFound, Forbidden.
    """
    room = open_room(room_id, origin)
    head = room.head
    low, high = narrow(room, head.oldest, head.ordinal, ts)
    entries = around(room, low, high, head.ordinal)
    shown = [it.event for it in entries if not it.withheld]
    found = [it for it in shown if (it.origin_server_ts >= ts if forward else it.origin_server_ts <= ts)]
    if not found:
        raise NotFound(f"There is no event {'after' if forward else 'before'} {ts}")
    event = (min if forward else max)(found, key=lambda each: each.origin_server_ts)
    return {"event_id": event.event_id, "origin_server_ts": event.origin_server_ts}
