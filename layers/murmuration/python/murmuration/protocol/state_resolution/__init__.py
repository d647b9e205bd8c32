"""State resolution: the one state to which the forks of a room resolve.

`resolve` takes whole state sets. `resolve_conflicted` takes only the entries in which they differ: its caller
finds the few differences between large states without reading the states, and only those other entries are
looked up on which the outcome depends. The room version selects the algorithm: `v1` for version 1, `v2` for 2
to 11 and, with changes, for 12 (2.1).

The code is pure: events come from a `Fetch`, which is asked for many at once, as few times as their graph
allows.

https://spec.matrix.org/v1.19/rooms/, "State resolution" of each version.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.protocol.events import StateKey
from murmuration.protocol.room_versions import RoomVersion
from murmuration.protocol.state_resolution.known import Conflicts, Fetch, Known, UnconflictedState
from murmuration.protocol.state_resolution.v1 import resolve_v1
from murmuration.protocol.state_resolution.v2 import resolve_v2

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId

__all__ = ["Conflicts", "Fetch", "UnconflictedState", "resolve", "resolve_conflicted"]

_FEW_ENTRIES = 100


def resolve(
    version: RoomVersion,
    state_sets: Sequence[Mapping[StateKey, EventId]],
    fetch: Fetch,
    *,
    rejected: Container[str] = frozenset(),
) -> dict[StateKey, EventId]:
    """Return the resolution of one or more state sets, each a map from (type, state key) to event ID.

    `fetch` and `rejected` are those of `resolve_conflicted`.
    """
    first, *others = state_sets
    unconflicted = dict(first)
    conflicts: dict[StateKey, tuple[EventId | None, ...]] = {}
    for other in others:
        for key, _ in other.items() ^ first.items():
            conflicts.setdefault(key, tuple(state_set.get(key) for state_set in state_sets))
            unconflicted.pop(key, None)
    if not conflicts:
        return unconflicted
    few = len(unconflicted) <= _FEW_ENTRIES
    resolved = resolve_conflicted(
        version, conflicts, _InMemory(unconflicted), fetch, rejected=rejected, few_unconflicted=few
    )
    return unconflicted | resolved


def resolve_conflicted(
    version: RoomVersion,
    conflicts: Conflicts,
    unconflicted: UnconflictedState,
    fetch: Fetch,
    *,
    rejected: Container[str] = frozenset(),
    few_unconflicted: bool = False,
) -> dict[StateKey, EventId]:
    """Return the part of the resolved state that the state sets don't have in common.

    `conflicts` has, for each (type, state key) in which the sets differ, the event ID in each set in turn,
    None if a set has no such entry. If a key of `conflicts` isn't in the result, the resolved state has no
    event there. In rare cases the result has a key that no set had.

    `fetch` returns those of the requested events that exist, and may add others that it expects to be
    requested next (events are followed to their auth events). `rejected` has the IDs of events that were
    rejected when they arrived; it is asked about an event only after that was fetched. `few_unconflicted`
    says that reading all unconflicted entries is cheaper than the computation that avoids it.
    """
    known = Known(fetch, conflicts, unconflicted, rejected, few_unconflicted=few_unconflicted)
    if version.state_resolution == "v1":
        return resolve_v1(known)
    return resolve_v2(version, known)


class _InMemory:
    """Unconflicted state that is completely in memory."""

    def __init__(self, entries: Mapping[StateKey, EventId]) -> None:
        self._entries = entries

    def get(self, keys: Collection[StateKey]) -> Mapping[StateKey, EventId]:
        return {key: self._entries[key] for key in keys if key in self._entries}

    def event_ids(self) -> Collection[EventId]:
        return self._entries.values()
