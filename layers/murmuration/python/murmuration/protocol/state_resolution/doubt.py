"""Resolves without knowing exactly which events are in the full conflicted set.

Every possible set is tried. Mostly the outcome is the same, so the whole unconflicted state, which would
decide it, needn't be read. To reduce the number of sets to try, the events are divided into independent
parts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.state_resolution.known import Known

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId


# The maximum number of doubtful events in a part: up to 2 to the power of it sets may have to be tried.
_MOST_DOUBTS = 6


def independent_parts(known: Known, event_ids: Iterable[EventId]) -> list[frozenset[EventId]]:
    """Divide events so that no event is judged by state that the events of another part may set.

    The parts together resolve to the same state as all events at once: each (type, state key) is set by one
    part only, and the order of the parts doesn't matter.
    """
    setting: dict[StateKey, list[Event]] = {}
    for event in known.events(event_ids):
        if (pair := event.state_pair) is not None:
            setting.setdefault(pair, []).append(event)
    # A forest of the keys that are set: those of one part have the same root.
    above = {key: key for key in setting}

    def root(key: StateKey) -> StateKey:
        while above[key] != key:
            above[key] = key = above[above[key]]
        return key

    for pair, events in setting.items():
        for key in {key for event in events for key in known.auth_keys(event) if key in setting}:
            above[root(key)] = root(pair)
    parts: dict[StateKey, list[EventId]] = {}
    for pair, events in setting.items():
        parts.setdefault(root(pair), []).extend(event.event_id for event in events)
    return [frozenset(part) for part in parts.values()]


def possible_sets(
    known: Known, certain: Collection[EventId], doubtful: frozenset[EventId]
) -> Iterator[frozenset[EventId]] | None:
    """Return all sets that may be the full conflicted set; None if there may be too many.

    An event that isn't in it is in the auth chain of every state set, and so are all events that it cites.
    """
    if len(doubtful) > _MOST_DOUBTS:
        return None
    cited = {event.event_id: doubtful.intersection(event.auth_events) for event in known.events(doubtful)}
    return (
        doubtful.difference(in_every_chain).union(certain)
        for size in range(len(doubtful) + 1)
        for in_every_chain in combinations(doubtful, size)
        if all(cited[event_id].issubset(in_every_chain) for event_id in in_every_chain)
    )
