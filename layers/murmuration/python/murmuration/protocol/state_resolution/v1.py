"""State resolution of room version 1. https://spec.matrix.org/v1.19/rooms/v1/#state-resolution

For cases that the specification leaves open, this follows existing implementations: the events of one (type,
state key) are resolved among themselves, no membership is judged by the resolution of another one, and if the
rules allow none of an entry's events, the one with the smallest depth is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha1
from typing import TYPE_CHECKING

from murmuration.protocol.auth_rules import AuthRuleViolation, check_auth
from murmuration.protocol.event_types import JOIN_RULES, MEMBER, POWER_LEVELS
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.state_resolution.known import Known

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId


def resolve_v1(known: Known) -> dict[StateKey, EventId]:
    """Return the resolution of the conflicting entries: an event ID for each (type, state key)."""
    candidates = {key: {event_id for event_id in ids if event_id} for key, ids in known.conflicts.items()}
    known.load(event_id for ids in candidates.values() for event_id in ids)
    ordered = {key: sorted(known.events(ids), key=_least_deep_first) for key, ids in candidates.items()}
    # In this version, an entry that some sets lack isn't a conflict.
    resolved = {key: events[0] for key, events in ordered.items() if len(events) == 1}
    conflicting = {key: events for key, events in ordered.items() if len(events) > 1}
    known.load(known.look_up_auth_entries(event for events in conflicting.values() for event in events))
    for event_type in (POWER_LEVELS, JOIN_RULES, MEMBER):
        resolved |= {
            key: _last_of_allowed_chain(events, resolved, known)
            for key, events in conflicting.items()
            if key[0] == event_type
        }
    resolved |= {
        key: _deepest_allowed(events, resolved, known)
        for key, events in conflicting.items()
        if key not in resolved
    }
    return {key: event.event_id for key, event in resolved.items()}


def _least_deep_first(event: Event) -> tuple[int, int]:
    """Return the key that sorts by ascending depth, then descending SHA-1 of the event ID."""
    digest = sha1(event.event_id.encode(), usedforsecurity=False).digest()
    return event.depth, -int.from_bytes(digest, "big")


def _last_of_allowed_chain(events: list[Event], resolved: Mapping[StateKey, Event], known: Known) -> Event:
    """Return the last event before the first one that the state with the event before it doesn't allow."""
    last, *others = events
    for event in others:
        if not _is_allowed(event, {**resolved, _pair(last): last}, known):
            break
        last = event
    return last


def _deepest_allowed(events: list[Event], resolved: Mapping[StateKey, Event], known: Known) -> Event:
    allowed: Iterable[Event] = (event for event in reversed(events) if _is_allowed(event, resolved, known))
    return next(iter(allowed), events[0])


def _is_allowed(event: Event, resolved: Mapping[StateKey, Event], known: Known) -> bool:
    state: dict[StateKey, Event] = {}
    for key in known.auth_keys(event):
        entry = resolved.get(key)
        if entry is None and (event_id := known.unconflicted(key)) is not None:
            entry = known.event(event_id)
        if entry is not None:
            state[key] = entry
    try:
        check_auth(event, state)
    except AuthRuleViolation:
        return False
    return True


def _pair(event: Event) -> StateKey:
    return event.type, event.state_key or ""
