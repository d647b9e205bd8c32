"""State resolution: the one state that the forks of a room come to.

`resolve` takes whole state sets; `resolve_conflicted` only where they differ, for a caller that finds out the
few differences between large states without reading them, and looks up no more of the rest than decides the
matter. The algorithm is the room version's: `v1` for version 1, `v2` for 2 to 11 and, with changes, for 12
(2.1).

Pure: events come from a `Fetch`, which is asked for many at once, as few times as their graph allows.

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
    """Return the resolution of one state set or more, each a map from (type, state key) to event ID.

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
    """Return what state sets that differ in `conflicts` resolve to, without what they have in common.

    `conflicts` gives, for each (type, state key) in which the sets are not all the same, the event ID in each
    set in turn, None if a set has no such entry. A key of `conflicts` that is not in the result has no
    event in the resolved state; in rare cases the result has a key that no set had.

    `fetch` returns those it has of the events asked for, and may return others that it expects to be asked
    for next (events ask for their auth events in turn). `rejected` has the IDs of events that were rejected
    when they came in; it is asked about an event only once that has been fetched. `few_unconflicted` says
    that to read all unconflicted entries is cheaper than to compute for a while how to do without.
    """
    known = Known(fetch, conflicts, unconflicted, rejected, few_unconflicted=few_unconflicted)
    if version.state_resolution == "v1":
        return resolve_v1(known)
    return resolve_v2(version, known)


class _InMemory:
    """Unconflicted state that is all at hand."""

    def __init__(self, entries: Mapping[StateKey, EventId]) -> None:
        self._entries = entries

    def get(self, keys: Collection[StateKey]) -> Mapping[StateKey, EventId]:
        return {key: self._entries[key] for key in keys if key in self._entries}

    def event_ids(self) -> Collection[EventId]:
        return self._entries.values()
