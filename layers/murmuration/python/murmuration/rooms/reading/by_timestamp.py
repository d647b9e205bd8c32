"""Finds the event closest to a point in time.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.errors import NotFound
from murmuration.protocol.filters import EventFilter
from murmuration.rooms.reading.timeline import Fill, Scan
from murmuration.rooms.reading.viewing import View, open_view
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId
    from murmuration.rooms.json_types import EventAtTime

_PROBES = 15
_NEVER = 2**63
_RUNS = 10
_MOST_FILLS = 12
WINDOW = 50
"""How many events to either side an event may be out of place for the closest one still to be found."""


def get_event_by_timestamp(
    token: AccessToken, room_id: RoomId, ts: int, *, forward: bool, fill: Fill | None = None
) -> EventAtTime:
    """Return the event closest to `ts` (milliseconds): the first not before it or, backward, the last not
    after it.

    The log is assumed to be in the order of the events' timestamps, except within a window. If events around
    that time are missing, `fill` is called to fetch them, as long as it finds any. Raises UnknownToken,
    Forbidden, NotFound.
    """
    view = open_view(token, room_id)
    if fill is not None and view.room.head.federated:
        for _ in range(_MOST_FILLS):
            if not _fill_around(view, ts, fill):
                break
            view = open_view(token, room_id)
    low, high = narrow(view.room, view.room.head.oldest, view.horizon(), ts)
    entries = around(view.room, low, high, view.horizon())
    times = {seen.entry.event.event_id: seen.entry.event.origin_server_ts for seen in view.see(entries)}
    found = {event_id: at for event_id, at in times.items() if (at >= ts if forward else at <= ts)}
    if not found:
        found = _further(view, low - 1 if not forward else high, ts, forward)
    if not found:
        raise NotFound(f"There is no event {'after' if forward else 'before'} {ts} that you may see")
    event_id = (min if forward else max)(found, key=lambda each: found[each])
    return {"event_id": event_id, "origin_server_ts": found[event_id]}


def around(room: Room, low: int, high: int, horizon: int) -> list[LogEntry]:
    """Return the entries between two bounds that `narrow` found, and `WINDOW` more on either side."""
    room_id, version = room.room_id, room.version
    below = room_items.read_log(room_id, version, before=low, limit=WINDOW, forward=False)
    most = high - low + 1 + WINDOW
    return [
        *below[::-1],
        *room_items.read_log(room_id, version, after=low - 1, before=horizon + 1, limit=most),
    ]


def _fill_around(view: View, ts: int, fill: Fill) -> bool:
    """Fetch events that are missing around `ts`. Returns whether any were found."""
    room = view.room
    low, high = narrow(room, room.head.oldest, view.horizon(), ts)
    # there may be a gap in between
    behind = room_items.read_log(room.room_id, room.version, after=high, limit=1)
    return fill(room, low - 1 - WINDOW, max([high, *(it.ordinal for it in behind)]) + WINDOW) == "filled"


def narrow(room: Room, low: int, high: int, ts: int) -> tuple[int, int]:
    """Return two ordinals, close together, between which the log's timestamps reach `ts`."""
    while high - low > 2 * _PROBES:
        step = (high - low) // (_PROBES + 1)
        probes = [low + step * number for number in range(1, _PROBES + 1)]
        entries = room_items.read_log_entries(
            [(room.room_id, ordinal) for ordinal in probes], {room.room_id: room.version}
        )
        times = {entry.ordinal: entry.event.origin_server_ts for entry in entries}
        if len(times) < len(probes):
            # There is a gap here: the next entry after a probe stands for it.
            times |= dict(_next_times(room, [probe for probe in probes if probe not in times]))
        first = next((ordinal for ordinal in probes if times[ordinal] >= ts), None)
        if first is None:
            low = probes[-1]
        else:
            low, high = first - step, first
    return low, high


def _next_times(room: Room, ordinals: Sequence[int]) -> list[tuple[int, int]]:
    """Return, for each ordinal, the time of the first entry after it."""
    read = functools.partial(room_items.read_log, room.room_id, room.version, limit=1)
    pages = concurrency.parallel(*(functools.partial(read, after=ordinal) for ordinal in ordinals))
    return [
        (ordinal, page[0].event.origin_server_ts if page else _NEVER)
        for ordinal, page in zip(ordinals, pages, strict=True)
    ]


def _further(view: View, position: int, ts: int, forward: bool) -> dict[EventId, int]:
    """Return the next visible event in the direction, if it is on the right side of `ts`.

    After many hidden events, only events during the viewer's own membership are found.
    """
    stop = view.horizon() if forward else view.room.head.oldest - 1
    scan = Scan(view, EventFilter(), position, stop, forward=forward)
    for _ in range(_RUNS):
        scan.run(1)
    since = view.viewer.since
    if not scan.found and forward and since is not None and since > scan.position:
        scan.position = since - 1
        scan.run(1)
    times = {seen.entry.event.event_id: seen.entry.event.origin_server_ts for seen in scan.found}
    return {event_id: at for event_id, at in times.items() if (at >= ts if forward else at <= ts)}
