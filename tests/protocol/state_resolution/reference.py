"""State resolution as the specification words it, definition by definition, on small rooms held in memory.

Two readings are those of all implementations, as the package says too: a state set's auth chain includes its
own events, and power events are ordered in the graph of the full conflicted set.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from murmuration.protocol.auth_rules import (
    AuthRuleViolation,
    auth_event_types_of,
    check_auth,
)
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId
from murmuration.protocol.power_levels import PowerLevels
from murmuration.protocol.room_versions import RoomVersion

State = Mapping[StateKey, EventId]
CREATE = (EventId("m.room.create"), EventId(""))
POWER_LEVELS = ("m.room.power_levels", "")


def reference_resolve(
    version: RoomVersion,
    state_sets: Sequence[State],
    events: Mapping[EventId, Event],
    rejected: Collection[str] = (),
) -> dict[StateKey, EventId]:
    if version.state_resolution == "v1":
        return resolve_1(state_sets, events)
    return Resolution2(version, state_sets, events, rejected).resolve()


class Resolution2:
    def __init__(
        self,
        version: RoomVersion,
        state_sets: Sequence[State],
        events: Mapping[EventId, Event],
        rejected: Collection[str],
    ) -> None:
        self.version = version
        self.is_2_1 = version.state_resolution == "v2.1"
        self.state_sets = state_sets
        self.events = events
        self.rejected = rejected

    # --- Definitions

    def unconflicted_state_map(self) -> dict[StateKey, EventId]:
        first, *others = self.state_sets
        return {key: it for key, it in first.items() if all(other.get(key) == it for other in others)}

    def conflicted_state_set(self) -> set[EventId]:
        unconflicted = self.unconflicted_state_map()
        return {it for state in self.state_sets for key, it in state.items() if key not in unconflicted}

    def auth_chain(self, event_id: EventId) -> set[EventId]:
        chain: set[EventId] = set()
        pending = [event_id]
        while pending:
            for auth_event in self.events[pending.pop()].auth_events:
                if auth_event not in chain:
                    chain.add(auth_event)
                    pending.append(auth_event)
        return chain

    def auth_difference(self) -> set[EventId]:
        chains: list[set[EventId]] = [
            {it for event_id in state.values() for it in (event_id, *self.auth_chain(event_id))}
            for state in self.state_sets
        ]
        return {it for it in set[EventId]().union(*chains) if not all(it in chain for chain in chains)}

    def conflicted_state_subgraph(self) -> set[EventId]:
        conflicted = self.conflicted_state_set()
        return {
            between
            for start in conflicted
            for between in self.auth_chain(start) | {start}
            if conflicted & (self.auth_chain(between) | {between})
        }

    def full_conflicted_set(self) -> set[EventId]:
        full = self.conflicted_state_set() | self.auth_difference()
        return full | self.conflicted_state_subgraph() if self.is_2_1 else full

    def is_power_event(self, event_id: EventId) -> bool:
        event = self.events[event_id]
        if event.type in ("m.room.power_levels", "m.room.join_rules"):
            return True
        return (
            event.type == "m.room.member"
            and event.content.get("membership") in ("leave", "ban")
            and event.sender != event.state_key
        )

    def reverse_topological_power_ordering(self, event_ids: set[EventId]) -> list[EventId]:
        ordered: list[EventId] = []
        while len(ordered) < len(event_ids):
            candidates = [
                event_id
                for event_id in event_ids.difference(ordered)
                if event_ids.intersection(self.events[event_id].auth_events).issubset(ordered)
            ]
            ordered.append(min(candidates, key=self.power_rank))
        return ordered

    def power_rank(self, event_id: EventId) -> tuple[Any, ...]:
        event = self.events[event_id]
        cited = {self.events[it].state_pair: self.events[it] for it in event.auth_events}
        create = self.events[EventId("$create")] if self.is_2_1 else cited.get(CREATE)
        levels = PowerLevels.from_state(create, cited.get(POWER_LEVELS), self.version)
        return -levels.user_level(event.sender), event.origin_server_ts, event_id

    def power_levels_chain(self, event_id: EventId) -> list[str]:
        """Return e1, e2, …: the power levels in the event's auth events, those in theirs, and so on."""
        chain: list[str] = []
        below: EventId | None = event_id
        while below is not None:
            cited = self.events[below].auth_events
            below = next((it for it in cited if self.events[it].state_pair == POWER_LEVELS), None)
            chain += [below] if below is not None else []
        return chain

    def mainline_ordering(self, event_ids: Iterable[EventId], power_levels: EventId | None) -> list[EventId]:
        mainline = [power_levels, *self.power_levels_chain(power_levels)] if power_levels else []

        def rank(event_id: EventId) -> tuple[Any, ...]:
            on_mainline = (it for it in self.power_levels_chain(event_id) if it in mainline)
            closest = next(on_mainline, None)
            position = math.inf if closest is None else mainline.index(closest)
            return -position, self.events[event_id].origin_server_ts, event_id

        return sorted(event_ids, key=rank)

    def iterative_auth_checks(self, state: State, event_ids: Iterable[EventId]) -> dict[StateKey, EventId]:
        resolved = dict(state)
        for event_id in event_ids:
            event = self.events[event_id]
            auth_state = {
                self.events[it].state_pair: self.events[it]
                for it in event.auth_events
                if it not in self.rejected
            }
            if self.is_2_1:
                auth_state[CREATE] = self.events[EventId("$create")]
            for key in (CREATE, *auth_event_types_of(event)):
                if key in resolved:
                    auth_state[key] = self.events[resolved[key]]
            if is_allowed(event, auth_state):
                resolved[event.type, event.state_key or ""] = event_id
        return resolved

    # --- Algorithm

    def resolve(self) -> dict[StateKey, EventId]:
        unconflicted = self.unconflicted_state_map()
        if not self.conflicted_state_set():
            return unconflicted
        full = self.full_conflicted_set()
        chosen = {it for it in full if self.is_power_event(it)}
        while more := {it for event_id in chosen for it in self.events[event_id].auth_events} & full - chosen:
            chosen |= more
        power_events = self.reverse_topological_power_ordering(chosen)
        partial = self.iterative_auth_checks({} if self.is_2_1 else unconflicted, power_events)
        rest = self.mainline_ordering(full - chosen, partial.get(POWER_LEVELS))
        return {**self.iterative_auth_checks(partial, rest), **unconflicted}


def resolve_1(state_sets: Sequence[State], events: Mapping[EventId, Event]) -> dict[StateKey, EventId]:
    union: dict[StateKey, set[EventId]] = {}
    for state in state_sets:
        for key, event_id in state.items():
            union.setdefault(key, set()).add(event_id)
    result = {key: next(iter(ids)) for key, ids in union.items() if len(ids) == 1}
    conflicts = {key: ids for key, ids in union.items() if len(ids) > 1}

    def order(event_id: EventId) -> tuple[int, bytes]:
        inverted = bytes(255 - byte for byte in hashlib.sha1(event_id.encode()).digest())
        return events[event_id].depth, inverted

    def allowed(event_id: EventId, state: State) -> bool:
        event = events[event_id]
        return is_allowed(event, {key: events[it] for key, it in state.items()})

    for event_type in ("m.room.power_levels", "m.room.join_rules", "m.room.member"):
        winners = {}
        for key, ids in conflicts.items():
            if key[0] == event_type:
                first, *others = sorted(ids, key=order)
                winners[key] = first
                for event_id in others:
                    if not allowed(event_id, {**result, key: winners[key]}):
                        break
                    winners[key] = event_id
        result |= winners
    rest = {key: sorted(ids, key=order) for key, ids in conflicts.items() if key not in result}
    return result | {
        key: next((it for it in reversed(ordered) if allowed(it, result)), ordered[0])
        for key, ordered in rest.items()
    }


def is_allowed(event: Event, state: Mapping[Any, Event]) -> bool:
    try:
        check_auth(event, state)
    except AuthRuleViolation:
        return False
    return True
