"""The events and unconflicted entries that a resolution has looked up so far: several at once, none twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from murmuration.protocol.auth_rules import AuthRuleViolation, auth_state_types_of, check_auth
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId
from murmuration.protocol.power_levels import Level

Fetch: TypeAlias = Callable[[Collection[EventId]], Mapping[EventId, Event]]
"""A function that looks up events by ID."""

Conflicts: TypeAlias = Mapping[StateKey, Sequence[EventId | None]]
"""The entries in which state sets differ: for each key the event ID in each set, None if a set has none."""


class UnconflictedState(Protocol):
    """The entries that all state sets have in common."""

    def get(self, keys: Collection[StateKey]) -> Mapping[StateKey, EventId]:
        """Return the entries at those `keys` that have one. It is never called with a conflicting key."""

    def event_ids(self) -> Collection[EventId]:
        """Return the event IDs of all entries. It is only called if the outcome depends on the events that
        they cite.
        """


class Known:
    """The events and unconflicted entries that are known so far."""

    def __init__(
        self,
        fetch: Fetch,
        conflicts: Conflicts,
        unconflicted: UnconflictedState,
        rejected: Container[str],
        *,
        few_unconflicted: bool,
    ) -> None:
        self._fetch = fetch
        self._unconflicted = unconflicted
        self._events: dict[EventId, Event | None] = {}
        self._entries: dict[StateKey, EventId | None] = dict.fromkeys(conflicts)
        self._auth_keys: dict[EventId, list[StateKey]] = {}
        self._verdicts: dict[tuple[EventId, ...], bool] = {}
        self.sender_levels: dict[EventId, Level] = {}
        """A cache of the senders' levels, by the events' own auth events."""
        self.conflicts = conflicts
        self.rejected = rejected
        self.few_unconflicted = few_unconflicted

    def load(self, event_ids: Iterable[EventId]) -> None:
        """Fetch the unknown ones of these events in one call. Missing events are stored as None."""
        missing = [event_id for event_id in dict.fromkeys(event_ids) if event_id not in self._events]
        if missing:
            self._events |= {**dict.fromkeys(missing), **self._fetch(missing)}

    def look_up(self, keys: Iterable[StateKey]) -> None:
        """Look up the unknown ones of these unconflicted entries in one call."""
        missing = [key for key in dict.fromkeys(keys) if key not in self._entries]
        if missing:
            self._entries |= {**dict.fromkeys(missing), **self._unconflicted.get(missing)}

    def look_up_auth_entries(self, events: Iterable[Event]) -> list[EventId]:
        """Return the unconflicted event IDs at all keys on which the authorisation of these events
        depends.
        """
        keys = {key for event in events for key in self.auth_keys(event)}
        self.look_up(keys)
        return [event_id for key in keys if (event_id := self._entries[key]) is not None]

    def auth_keys(self, event: Event) -> list[StateKey]:
        """Return the keys of the state on which the event's authorisation depends."""
        keys = self._auth_keys.get(event.event_id)
        if keys is None:
            keys = self._auth_keys[event.event_id] = auth_state_types_of(event)
        return keys

    def is_allowed(self, event: Event, state: Mapping[StateKey, Event]) -> bool:
        """Return whether the authorisation rules allow the event in that state."""
        judged = (event.event_id, *[entry.event_id for entry in state.values()])
        verdict = self._verdicts.get(judged)
        if verdict is None:
            try:
                check_auth(event, state)
            except AuthRuleViolation:
                verdict = False
            else:
                verdict = True
            self._verdicts[judged] = verdict
        return verdict

    def all_unconflicted(self) -> Collection[EventId]:
        return self._unconflicted.event_ids()

    def unconflicted(self, key: StateKey) -> EventId | None:
        """Return the unconflicted entry at a key, if there is one."""
        self.look_up((key,))
        return self._entries[key]

    def event(self, event_id: EventId) -> Event | None:
        """Return an event that has been loaded; None if it doesn't exist."""
        return self._events[event_id]

    def events(self, event_ids: Iterable[EventId]) -> list[Event]:
        """Return those of the loaded events that exist."""
        return [event for event_id in event_ids if (event := self._events[event_id]) is not None]
