"""How a resolution does without knowing which events, exactly, are in the full conflicted set.

Whatever it could be is tried. Mostly the outcome is the same, and there is no need to read the whole of the
unconflicted state, which alone would settle it. So that few have to be tried, the events are divided into
parts that have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.state_resolution.known import Known

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId


# In a part of the events; as many as 2 to the power of it may have to be tried.
_MOST_DOUBTS = 6


def independent_parts(known: Known, event_ids: Iterable[EventId]) -> list[frozenset[EventId]]:
    """Divides events so that no event is judged by state which those of another part may set.

    The parts resolve by themselves to what all resolve to together: each (type, state key) is set by one part
    only, and in what order the parts are tried makes no difference.
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
    """Return all that the full conflicted set may be; None if it may be too many things.

    What is not in it is in the auth chain of every state set, and so is whatever such an event cites.
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
