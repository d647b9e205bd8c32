"""The two orders in which state resolution 2 checks events: by power, and by the mainline of power levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappop, heappush

from murmuration.protocol.event_types import POWER_LEVELS_KEY
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId
from murmuration.protocol.power_levels import Level, PowerLevels
from murmuration.protocol.state_resolution.known import Known


def by_power(
    events: Mapping[EventId, Event], known: Known, create_of: Callable[[Event], Event | None]
) -> list[Event]:
    """Return the events in reverse topological power ordering, earliest first. Their auth events must be
    loaded.

    It is the lexicographically smallest topological ordering. Events are compared by their sender's power,
    the greater first, then by time, then by ID.
    """
    waits_for = {
        event_id: {cited for cited in event.auth_events if cited in events}
        for event_id, event in events.items()
    }
    cited_by: dict[EventId, list[EventId]] = {}
    for event_id, cited_ids in waits_for.items():
        for cited in cited_ids:
            cited_by.setdefault(cited, []).append(event_id)

    def rank(event_id: EventId) -> tuple[Level, int, EventId]:
        event = events[event_id]
        return -_sender_level(event, known, create_of(event)), event.origin_server_ts, event_id

    ready = [rank(event_id) for event_id, cited_ids in waits_for.items() if not cited_ids]
    heapify(ready)
    ordered: list[Event] = []
    while ready:
        *_, event_id = heappop(ready)
        ordered.append(events[event_id])
        for citing in cited_by.get(event_id, ()):
            waits_for[citing].discard(event_id)
            if not waits_for[citing]:
                heappush(ready, rank(citing))
    return ordered


def by_mainline(events: Iterable[Event], power_levels_id: EventId | None, known: Known) -> list[Event]:
    """Return the events in the mainline ordering for an m.room.power_levels event, or for none.

    Their auth events must be loaded.
    """
    cited = {event.event_id: _power_levels_of(event, known) for event in events}
    heads = {power_levels for power_levels in cited.values() if power_levels is not None}
    positions = _mainline_positions(heads, power_levels_id, known)

    def rank(event: Event) -> tuple[float, int, str]:
        position = positions.get(cited[event.event_id] or EventId(""), math.inf)
        return -position, event.origin_server_ts, event.event_id

    return sorted(events, key=rank)


def _mainline_positions(
    heads: Iterable[EventId], mainline_id: EventId | None, known: Known
) -> dict[EventId, float]:
    """Return the mainline position of each of `heads`, which are m.room.power_levels events. A missing one is
    infinite.

    The mainline, and the chain of m.room.power_levels events from each head, are followed together, one step
    at a time, until each chain has met the mainline. No further events are loaded.
    """
    positions: dict[EventId, float] = {}
    mainline: dict[EventId, int] = {}
    met_by: dict[EventId, set[EventId]] = {}  # the heads in whose chains an event is
    tip = mainline_id
    chains = {head: head for head in heads} if tip is not None else {}
    unplaced = set(chains)
    while tip is not None or chains:
        if tip is not None:
            mainline[tip] = len(mainline)
        for head, event_id in chains.items():
            met_by.setdefault(event_id, set()).add(head)
        # After two chains meet they are the same, so the meeting that is found first has the smallest index.
        met = mainline.keys() & {tip, *chains.values()}
        for event_id in met:
            for head in unplaced & met_by.get(event_id, set()):
                positions[head] = mainline[event_id]
                unplaced.remove(head)
        if not unplaced:
            break
        chains = {head: event_id for head, event_id in chains.items() if head in unplaced}
        below = _power_levels_below({*chains.values(), *([tip] if tip is not None else [])}, known)
        tip = below.get(tip) if tip is not None else None
        chains = {head: below[event_id] for head, event_id in chains.items() if event_id in below}
    return positions


def _power_levels_below(event_ids: Iterable[EventId], known: Known) -> dict[EventId, EventId]:
    """Return the m.room.power_levels event that each event cites, if any. The events must be loaded."""
    events = known.events(event_ids)
    known.load(cited for event in events for cited in event.auth_events)
    cited = ((event.event_id, _power_levels_of(event, known)) for event in events)
    return {event_id: below for event_id, below in cited if below is not None}


def _sender_level(event: Event, known: Known, create: Event | None) -> Level:
    """Return the power level of the event's sender by its own auth events."""
    level = known.sender_levels.get(event.event_id)
    if level is None:
        cited = _power_levels_of(event, known)
        power_levels = known.event(cited) if cited is not None else None
        level = PowerLevels.from_state(create, power_levels, event.room_version).user_level(event.sender)
        known.sender_levels[event.event_id] = level
    return level


def _power_levels_of(event: Event, known: Known) -> EventId | None:
    """Return the m.room.power_levels event among the event's auth events."""
    cited = (known.event(event_id) for event_id in event.auth_events)
    return next((it.event_id for it in cited if it is not None and it.state_pair == POWER_LEVELS_KEY), None)
