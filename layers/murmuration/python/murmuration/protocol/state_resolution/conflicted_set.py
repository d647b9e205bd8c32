"""The full conflicted set of state resolution 2 and 2.1: the events that the algorithm decides about.

It has the conflicting entries, the auth difference (events in the auth chain of some state sets, but not of
all) and, in 2.1, the conflicted state subgraph (events on a path of auth events between conflicting entries).
The auth chain of a state set includes the set's own events, as in all implementations: those of its events
that are unconflicted are in every set's chain.

To compute this directly, the auth chains of whole states would have to be followed down to the room's
creation. Instead the graph is followed one layer at a time: from the conflicting entries, and from those
unconflicted entries that authorise the events found so far. This ends when everything below the last layer is
known to be in every chain. Some events remain that were found only from the conflicting entries of some sets.
They are in the auth difference unless another unconflicted entry leads to them, so they are `doubtful`. Only
with `exact=True` are all unconflicted entries followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from murmuration.protocol.event_types import CREATE, JOIN_RULES, MEMBER, POWER_LEVELS, THIRD_PARTY_INVITE
from murmuration.protocol.state_resolution.known import Known

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId

_CITABLE_TYPES = frozenset(
    {
        CREATE,
        MEMBER,
        JOIN_RULES,
        POWER_LEVELS,
        THIRD_PARTY_INVITE,
    }
)


class FullConflictedSet(NamedTuple):
    """Events that are in the set (`certain`), and events that may be in it (`doubtful`)."""

    certain: frozenset[EventId]
    doubtful: frozenset[EventId]


def full_conflicted_set(known: Known, *, with_subgraph: bool, exact: bool = False) -> FullConflictedSet:
    """Return the full conflicted set of `known.conflicts`; if `exact`, without doubtful events.

    All its events are loaded, and the unconflicted entries that authorise them are looked up.
    """
    walk = _Walk(known, with_subgraph=with_subgraph)
    walk.run(exact=exact)
    conflicting = frozenset(event_id for ids in known.conflicts.values() for event_id in ids if event_id)
    certain = conflicting | walk.subgraph() if with_subgraph else conflicting
    difference = walk.difference() - certain
    return (
        FullConflictedSet(certain | difference, frozenset())
        if exact
        else FullConflictedSet(certain, difference)
    )


class _Walk:
    """A walk along auth events. For every event that it finds, it records from where the event can be
    reached.

    The record is a set of bits: one for each state set whose chain has the event, one that says whether any
    conflicting entry leads to it, and one for each conflicting entry that leads to it and can be an auth
    event.
    """

    def __init__(self, known: Known, *, with_subgraph: bool) -> None:
        self._known = known
        number_of_sets = max(map(len, known.conflicts.values()))
        self._all_chains = (1 << number_of_sets) - 1
        self._from_conflicting = 1 << number_of_sets
        self._reached: dict[EventId, int] = {}
        self._own_bit: dict[EventId, int] = {}
        for (event_type, _), event_ids in sorted(known.conflicts.items()):
            for index, event_id in enumerate(event_ids):
                if event_id is not None:
                    self._reached[event_id] = self._reached.get(event_id, 0) | 1 << index
                    if with_subgraph and event_type in _CITABLE_TYPES:
                        self._own_bit.setdefault(event_id, 2 << (number_of_sets + len(self._own_bit)))
        self._conflicting = frozenset(self._reached)
        self._all_citable = sum(self._own_bit.values())
        # The last layer: events that were found but not followed yet, because following them needs loading
        # them.
        self._frontier: set[EventId] = set(self._reached)

    def run(self, *, exact: bool) -> None:
        """Walk until nothing below the last layer matters; if `exact`, from all entries to the very end."""
        if exact:
            self._enter(self._known.all_unconflicted())
        layer = set(self._frontier)
        while layer:
            self._known.load(layer)
            self._frontier -= layer
            entries = self._known.look_up_auth_entries(self._known.events(layer))
            self._enter(entries)
            self._pass_on(layer.union(entries))
            layer = set(self._frontier) if exact else self._next_layer()

    def difference(self) -> frozenset[EventId]:
        """Return the events that were found from conflicting entries, but not for every state set."""
        return self._where(self._has_conflicting_above) - self._where(self._in_all)

    def subgraph(self) -> frozenset[EventId]:
        """Return the events on paths between conflicting entries."""
        cited_by: dict[EventId, list[EventId]] = {}
        for event_id in self._reached.keys() - self._frontier:
            for cited in self._cites(event_id):
                cited_by.setdefault(cited, []).append(event_id)
        leading: set[EventId] = set(self._own_bit)
        pending = list(leading)
        while pending:
            found = [event_id for event_id in cited_by.get(pending.pop(), ()) if event_id not in leading]
            leading.update(found)
            pending += found
        return self._conflicting.union(self._where(self._has_conflicting_above)) & leading

    def _enter(self, event_ids: Iterable[EventId]) -> None:
        """Start at unconflicted entries too: they are in every state set's chain."""
        for event_id in event_ids:
            if event_id not in self._reached:
                self._frontier.add(event_id)
            self._reached[event_id] = self._reached.get(event_id, 0) | self._all_chains

    def _pass_on(self, event_ids: Iterable[EventId]) -> None:
        """Record, for the whole auth chain of these events, from which events it is reached."""
        pending = [event_id for event_id in event_ids if event_id not in self._frontier]
        while pending:
            event_id = pending.pop()
            passed = self._reached[event_id] | self._own_bit.get(event_id, 0)
            if event_id in self._conflicting:
                passed |= self._from_conflicting
            for cited in self._cites(event_id):
                before = self._reached.get(cited)
                if before is None:
                    self._frontier.add(cited)
                if before is None or before | passed != before:
                    self._reached[cited] = (before or 0) | passed
                    if cited not in self._frontier:
                        pending.append(cited)

    def _next_layer(self) -> set[EventId]:
        """Return the events to follow next; none if everything below the last layer is decided.

        Below an event that is in every chain, all events are too. They still matter while the last layer has
        other events, which may turn out to be among them; and, for the subgraph, below an event to which
        conflicting entries lead, unless all conflicting entries that could be there do.
        """
        if not all(map(self._in_all, map(self._reached.__getitem__, self._frontier))):
            return set(self._frontier)
        return {
            event_id
            for event_id in self._frontier
            if self._has_conflicting_above(self._reached[event_id])
            and self._reached[event_id] & self._all_citable != self._all_citable
        }

    def _has_conflicting_above(self, reached: int) -> bool:
        return reached & self._from_conflicting != 0

    def _in_all(self, reached: int) -> bool:
        return reached & self._all_chains == self._all_chains

    def _where(self, condition: Callable[[int], bool]) -> frozenset[EventId]:
        return frozenset(event_id for event_id, reached in self._reached.items() if condition(reached))

    def _cites(self, event_id: EventId) -> tuple[EventId, ...]:
        event = self._known.event(event_id)
        return event.auth_events if event is not None else ()
