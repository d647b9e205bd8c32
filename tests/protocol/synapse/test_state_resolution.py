"""Rooms that fork and merge at random come to the same state here as in Synapse."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pytest

from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from murmuration.protocol.state_resolution import Fetch, resolve, resolve_conflicted

from .recorded import VERSIONS, load

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId

CASES = [
    pytest.param(version, room, id=f"v{version}, seed {room['seed']}")
    for version in VERSIONS
    for room in load("state_resolution")["versions"][version]
]


def restore(room: dict[str, Any], version: RoomVersion) -> list[Event]:
    """Return the room's events, whose references were recorded as positions in the list."""
    events: list[Event] = []
    for short in room["events"]:
        pdu: Any = {**short, "hashes": {}, "signatures": {}}
        if not (version.create_event_is_room_id and short["type"] == "m.room.create"):
            pdu["room_id"] = room["room_id"]
        for name in ("prev_events", "auth_events"):
            event_ids = [events[position].event_id for position in short[name]]
            pdu[name] = [[it, {}] for it in event_ids] if version.server_assigned_event_ids else event_ids
        events.append(Event(pdu, version))
    assert events[-1].event_id == room["last_event_id"]
    return events


def as_state(events: list[Event], positions: list[int]) -> dict[StateKey, EventId]:
    return {pair: events[it].event_id for it in positions if (pair := events[it].state_pair)}


@pytest.mark.parametrize(("version", "room"), CASES)
def test_resolved_states_agree(version: str, room: dict[str, Any]) -> None:
    room_version = ROOM_VERSIONS[version]
    events = restore(room, room_version)
    by_id = {event.event_id: event for event in events}

    def fetch(event_ids: Collection[EventId]) -> dict[EventId, Event]:
        return {event_id: by_id[event_id] for event_id in event_ids if event_id in by_id}

    assert room["resolutions"]
    for resolution in room["resolutions"]:
        state_sets = [as_state(events, positions) for positions in resolution["state_sets"]]
        expected = as_state(events, resolution["resolved"])
        assert resolve(room_version, state_sets, fetch) == expected
        assert resolve(room_version, state_sets[::-1], fetch) == expected
        assert resolve_differences(room_version, state_sets, fetch) == expected


def resolve_differences(
    version: RoomVersion, state_sets: list[dict[StateKey, EventId]], fetch: Fetch
) -> dict[StateKey, EventId]:
    """Return the resolution as a caller computes it who has to look up the common part of the states."""
    keys = {key for state in state_sets for key in state}
    entries = {key: tuple(state.get(key) for state in state_sets) for key in sorted(keys)}
    conflicts = {key: events for key, events in entries.items() if len(set(events)) > 1}
    common = {key: state_sets[0][key] for key in keys - conflicts.keys()}
    if not conflicts:
        return common

    class Unconflicted:
        def get(self, keys: Collection[StateKey]) -> dict[StateKey, EventId]:
            return {key: common[key] for key in keys if key in common}

        def event_ids(self) -> Collection[EventId]:
            return common.values()

    return common | resolve_conflicted(version, conflicts, Unconflicted(), fetch)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recorded_resolutions_decide_something(version: str) -> None:
    """This checks the fixture: many states differ, and they aren't all resolved in favour of one side."""
    resolutions = [it for room in load("state_resolution")["versions"][version] for it in room["resolutions"]]
    conflicts = [it for it in resolutions if len({tuple(state) for state in it["state_sets"]}) > 1]
    mixed = [it for it in conflicts if it["resolved"] not in it["state_sets"]]
    assert len(conflicts) > 20
    assert len(mixed) > len(conflicts) // 3
