"""The pieces of work as Murmuration's protocol package does them."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from murmuration.protocol import state_trie
from murmuration.protocol.auth_rules import AuthRuleViolation, check_auth
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, ServerName
from murmuration.protocol.pdus.building import hash_and_sign
from murmuration.protocol.pdus.hashing import event_id_for, verify_content_hash
from murmuration.protocol.pdus.signing import SigningKey, verify_event
from murmuration.protocol.room_versions import get_room_version
from murmuration.protocol.state_resolution import resolve, resolve_conflicted
from tests.interop.cases.resolution import SimulatedRoom
from tests.interop.our_library import OurEngine

from .inputs import KEY_VERSION, SEED, SERVER, ForkedRoom, RoomBuilder, messages
from .timing import Work

VERSION = get_room_version("11")
KEY = SigningKey(SEED, KEY_VERSION)


def forked_room(version: str, size: int) -> ForkedRoom:
    return RoomBuilder(version, lambda pdu: event_id_for(pdu, get_room_version(version))).build(size)


def event_work() -> dict[str, Work]:
    """Return work on single events. One run is one pass over all of `messages`."""
    templates = messages()
    signed = [hash_and_sign(pdu, ServerName(SERVER), KEY, VERSION) for pdu in templates]

    def encode() -> None:
        for pdu in signed:
            canonical_json.encode(pdu, strict=False)

    def encode_strictly() -> None:
        for pdu in signed:
            canonical_json.encode(pdu)

    def sign() -> None:
        for pdu in templates:
            hash_and_sign(pdu, ServerName(SERVER), KEY, VERSION)

    def identify() -> None:
        for pdu in signed:
            _ = Event(pdu, VERSION).event_id

    def verify() -> None:
        for pdu in signed:
            verify_event(pdu, ServerName(SERVER), KEY.key_id, KEY.public_key, VERSION)
            if not verify_content_hash(pdu):
                raise AssertionError("a good event did not verify")

    return {
        "canonical JSON": encode,
        "canonical JSON, numbers checked": encode_strictly,
        "hash and sign": sign,
        "event ID": identify,
        "verify": verify,
    }


def auth_work(room: ForkedRoom) -> dict[str, Work]:
    """Return work that checks the rules for each event at the room's end, in the state of one fork."""
    version = get_room_version(room.version)
    events = [Event(pdu, version) for pdu in room.events]
    state = {pair: events[position] for pair, position in room.state_sets[0].items()}
    for event in events:
        _ = event.event_id
    judged = events[-8:]

    def check() -> None:
        for event in judged:
            with suppress(AuthRuleViolation):
                check_auth(event, state)

    return {"auth check": check}


class ResolvableRoom:
    """A forked room in the form for the resolution: states as maps, or as the tries in which they are
    stored.
    """

    def __init__(self, room: ForkedRoom) -> None:
        self.version = get_room_version(room.version)
        events = [Event(pdu, self.version) for pdu in room.events]
        self.by_id = {event.event_id: event for event in events}
        # Separate strings for each state, as if it was read from a database.
        self.state_sets = [
            _copied({key: events[it].event_id for key, it in state.items()}) for state in room.state_sets
        ]
        self.nodes: dict[state_trie.NodeId, bytes] = {}
        self.roots = []
        for state in self.state_sets:
            root, nodes = state_trie.build(events[0].room_id, state)
            self.nodes |= nodes
            self.roots.append(root)

    def fetch(self, event_ids: Collection[EventId]) -> dict[EventId, Event]:
        return {event_id: self.by_id[event_id] for event_id in event_ids if event_id in self.by_id}

    def fetch_nodes(self, node_ids: Collection[state_trie.NodeId]) -> dict[state_trie.NodeId, bytes]:
        return {node_id: self.nodes[node_id] for node_id in node_ids}

    def resolve_maps(self) -> dict[StateKey, EventId]:
        return resolve(self.version, self.state_sets, self.fetch)

    def resolve_tries(self) -> dict[StateKey, EventId]:
        """Resolve only the entries in which the states differ."""
        conflicts = state_trie.conflicts(self.roots, self.fetch_nodes)
        return resolve_conflicted(self.version, conflicts, _Unconflicted(self, conflicts), self.fetch)


class ContestedRoom:
    """A small room in which people fight over power on several branches; its resolutions one after
    the other.
    """

    def __init__(self, version: str, seed: int) -> None:
        self.engine = OurEngine(version)
        self.room = SimulatedRoom(int(version), seed, self.engine)
        self.room.run(steps=150, branches=4)
        self.state_sets = [
            [_copied(state) for state in resolution.state_sets] for resolution in self.room.resolutions
        ]

    def resolve_all(self) -> None:
        for state_sets in self.state_sets:
            self.engine.resolve(state_sets)


def _copied(state: dict[StateKey, Any]) -> dict[StateKey, Any]:
    entries = json.loads(json.dumps(list(state.items())))
    return {(event_type, state_key): event_id for (event_type, state_key), event_id in entries}


class _Unconflicted:
    def __init__(self, room: ResolvableRoom, conflicts: Any) -> None:
        self._room = room
        self._conflicts = conflicts

    def get(self, keys: Collection[StateKey]) -> dict[StateKey, EventId]:
        return state_trie.get(self._room.roots[0], keys, self._room.fetch_nodes)

    def event_ids(self) -> Collection[EventId]:
        entries = state_trie.items(self._room.roots[0], self._room.fetch_nodes)
        return [event_id for key, event_id in entries.items() if key not in self._conflicts]
