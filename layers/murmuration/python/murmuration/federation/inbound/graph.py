"""Putting events into the order of their graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.protocol.events import Event

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId


def ancestors_first(
    events: Mapping[EventId, Event], cited: Callable[[Event], Sequence[EventId]]
) -> list[Event]:
    """Return `events` (by ID) in an order in which each comes after those that it cites.

    An event that cites itself through others may come at any position.
    """
    ordered: list[Event] = []
    begun: set[EventId] = set()
    for event_id in events:
        pending = [(event_id, False)]
        while pending:
            current, is_done = pending.pop()
            if is_done:
                ordered.append(events[current])
            elif current not in begun:
                begun.add(current)
                pending.append((current, True))
                pending += [(it, False) for it in cited(events[current]) if it in events and it not in begun]
    return ordered
