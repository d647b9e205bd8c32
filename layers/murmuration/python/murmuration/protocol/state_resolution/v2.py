"""State resolution of room versions 2 to 11, and of 12 (2.1).

https://spec.matrix.org/v1.19/rooms/v11/#state-resolution,
https://spec.matrix.org/v1.19/rooms/v12/#state-resolution

Power events are ordered by the graph of auth events, and events of their auth chains are added to them. As in
all implementations, this graph has only the full conflicted set: a path through other events doesn't count.
In version 2.1 there are no such paths.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from murmuration.protocol.auth_rules import create_event_id
from murmuration.protocol.event_types import CREATE_KEY, JOIN_RULES, MEMBER, POWER_LEVELS, POWER_LEVELS_KEY
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.room_versions import RoomVersion
from murmuration.protocol.state_resolution.conflicted_set import FullConflictedSet, full_conflicted_set
from murmuration.protocol.state_resolution.doubt import independent_parts, possible_sets
from murmuration.protocol.state_resolution.known import Known
from murmuration.protocol.state_resolution.ordering import by_mainline, by_power

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId


def resolve_v2(version: RoomVersion, known: Known) -> dict[StateKey, EventId]:
    """Return the resolution of the conflicting entries: an event ID for each (type, state key)."""
    with_subgraph = version.state_resolution == "v2.1"
    found = full_conflicted_set(known, with_subgraph=with_subgraph)
    if found.doubtful and not known.few_unconflicted:
        outcome = _outcome_in_doubt(version, known, found)
        if outcome is not None:
            return outcome
    if found.doubtful:
        found = full_conflicted_set(known, with_subgraph=with_subgraph, exact=True)
    resolution = _Resolution(version, known, found.certain)
    resolution.load_auth_events()
    return resolution.outcome()


def _outcome_in_doubt(
    version: RoomVersion, known: Known, found: FullConflictedSet
) -> dict[StateKey, EventId] | None:
    """Return the outcome if it is the same for every possible full conflicted set; else None."""
    events = found.certain | found.doubtful
    _Resolution(version, known, events).load_auth_events()
    outcome: dict[StateKey, EventId] = {}
    for part in independent_parts(known, events):
        possible = possible_sets(known, part & found.certain, part & found.doubtful)
        if possible is None:
            return None
        first, *others = (_Resolution(version, known, events).outcome() for events in possible)
        if any(other != first for other in others):
            return None
        outcome |= first
    return outcome


class _Resolution:
    """One run of the algorithm on a full conflicted set."""

    def __init__(self, version: RoomVersion, known: Known, full_conflicted: Collection[EventId]) -> None:
        self._version = version
        self._known = known
        self._events = {event.event_id: event for event in known.events(full_conflicted) if event.is_state}
        self._starts_empty = version.state_resolution == "v2.1"
        self._state: dict[StateKey, EventId] = {}

    def outcome(self) -> dict[StateKey, EventId]:
        """Perform the algorithm's steps, numbered as in the specification. `load_auth_events` must be called
        before.
        """
        power_events = self._with_conflicted_chain(filter(is_power_event, self._events.values()))  # 1
        self._check_iteratively(by_power(power_events, self._known, self._create_of))  # 1, 2
        others = [event for event_id, event in self._events.items() if event_id not in power_events]  # 3
        self._check_iteratively(by_mainline(others, self._entry(POWER_LEVELS_KEY), self._known))  # 3, 4
        self._known.look_up(self._state)
        return {key: it for key, it in self._state.items() if self._known.unconflicted(key) is None}  # 5

    def load_auth_events(self) -> None:
        """Load all events by which the set's events are judged."""
        events = self._events.values()
        entries = self._known.look_up_auth_entries(events)
        needed = [] if self._starts_empty else entries
        needed += [event_id for event in events for event_id in event.auth_events]
        if self._version.create_event_is_room_id:
            needed += map(create_event_id, events)
        self._known.load(needed)

    def _with_conflicted_chain(self, power_events: Iterator[Event]) -> dict[EventId, Event]:
        """Return the events, and those events of their auth chains that belong to the full conflicted set."""
        chosen: dict[EventId, Event] = {}
        pending = list(power_events)
        while pending:
            event = pending.pop()
            if event.event_id not in chosen:
                chosen[event.event_id] = event
                pending += (self._events[cited] for cited in event.auth_events if cited in self._events)
        return chosen

    def _check_iteratively(self, events: list[Event]) -> None:
        """Add each event to the state if the rules allow it there; otherwise skip it."""
        for event in events:
            if self._known.is_allowed(event, self._auth_state(event)):
                self._state[event.type, event.state_key or ""] = event.event_id

    def _auth_state(self, event: Event) -> dict[StateKey, Event]:
        """Return the state by which to judge an event. Entries that it lacks come from the event's own auth
        events.
        """
        entries = {key: self._entry(key) for key in self._known.auth_keys(event)}
        known = self._known.event
        state = {key: it for key, entry in entries.items() if entry and (it := known(entry)) is not None}
        if None in entries.values():
            for cited in self._cited(event):
                pair = cited.state_pair
                if pair is not None and entries.get(pair, "") is None:
                    state[pair] = cited
        return state

    def _cited(self, event: Event) -> list[Event]:
        """Return the auth events of an event that weren't rejected, and its create event."""
        cited = [
            it for it in self._known.events(event.auth_events) if it.event_id not in self._known.rejected
        ]
        create = self._create_of(event)
        return cited if create is None else [*cited, create]

    def _entry(self, key: StateKey) -> EventId | None:
        """Return the event ID that the partially resolved state has at a key."""
        entry = self._state.get(key)
        if entry is None and not self._starts_empty:
            return self._known.unconflicted(key)
        return entry

    def _create_of(self, event: Event) -> Event | None:
        """Return the create event that an event cites, in its auth events or by its room ID."""
        if self._version.create_event_is_room_id:
            return self._known.event(create_event_id(event))
        cited = self._known.events(event.auth_events)
        return next((auth_event for auth_event in cited if auth_event.state_pair == CREATE_KEY), None)


def is_power_event(event: Event) -> bool:
    """Return whether the event might remove someone's ability to do something in the room."""
    if event.type == MEMBER:
        return event.membership in ("leave", "ban") and event.sender != event.state_key
    return event.type in (POWER_LEVELS, JOIN_RULES)
