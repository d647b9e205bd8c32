"""Murmuration's protocol package behind the interfaces Synapse's library has here: one case feeds both."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, cast

from murmuration.protocol.auth_rules import AuthRuleViolation, auth_state_types_of, check_auth
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, ServerName
from murmuration.protocol.pdus.hashing import content_hash
from murmuration.protocol.pdus.signing import SigningKey, sign_event, sign_json
from murmuration.protocol.room_versions import RoomVersion, get_room_version
from murmuration.protocol.state_resolution import resolve

from .cases.events import Pdu, Template
from .cases.keys import KEYS
from .cases.resolution import StateMap


def signing_key(server_name: str) -> SigningKey:
    return SigningKey(KEYS[server_name].seed, KEYS[server_name].version)


class OurSigner:
    """Signs with our functions."""

    def sign_json(self, value: dict[str, Any], server_name: str) -> dict[str, Any]:
        return sign_json(value, ServerName(server_name), signing_key(server_name))

    def public_key(self, server_name: str) -> str:
        return signing_key(server_name).public_base64


def public_keys(server_names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return (server name, key ID, public key) of each server."""
    keys = [(name, signing_key(name)) for name in server_names]
    return [(name, key.key_id, key.public_base64) for name, key in keys]


def hash_and_sign(version: str, template: Template) -> Pdu:
    """Return the template's PDU with its content hash, and a signature of each signer."""
    pdu: Any = {
        **template.pdu,
        "hashes": {**template.pdu.get("hashes", {}), "sha256": content_hash(template.pdu)},
    }
    for server_name in template.signers:
        pdu = sign_event(pdu, ServerName(server_name), signing_key(server_name), get_room_version(version))
    return pdu


class OurEngine:
    """Runs a simulated room with our rules, and keeps what it was asked for another to judge."""

    def __init__(self, version: str) -> None:
        self.version = get_room_version(version)
        self.events: dict[str, Event] = {}
        self.pdus: list[Pdu] = []
        self.position: dict[str, int] = {}
        self.verdicts: list[tuple[int, list[int], bool]] = []
        """Positions of an event and of the state it was judged against, and whether it was allowed."""

    def add(self, pdu: Pdu, state: StateMap) -> tuple[str, bool]:
        event = Event(complete(pdu, self.version), self.version)
        self.events[event.event_id] = event
        if event.event_id not in self.position:
            self.position[event.event_id] = len(self.pdus)
            self.pdus.append(event.pdu)
        needed = {key: state[key] for key in auth_state_types_of(event) if key in state}
        allowed = self._allows(event, {key: self.events[event_id] for key, event_id in needed.items()})
        positions = [self.position[event_id] for event_id in needed.values()]
        self.verdicts.append((self.position[event.event_id], positions, allowed))
        return event.event_id, allowed

    def resolve(self, state_sets: Sequence[StateMap]) -> StateMap:
        found = resolve(self.version, cast("Any", state_sets), self._fetch)
        return cast("StateMap", found)

    def positions(self, state: StateMap) -> list[int]:
        """Return the positions in `pdus` of a state's events, in order."""
        return sorted(self.position[event_id] for event_id in state.values())

    def _allows(self, event: Event, state: dict[StateKey, Event]) -> bool:
        try:
            check_auth(event, state)
        except AuthRuleViolation:
            return False
        return True

    def _fetch(self, event_ids: Collection[EventId]) -> dict[EventId, Event]:
        return {event_id: self.events[event_id] for event_id in event_ids if event_id in self.events}


def complete(pdu: Pdu, version: RoomVersion) -> Pdu:
    """Return the PDU with (empty) hashes and signatures, and references as its room version has them."""
    completed = {"hashes": {}, "signatures": {}, **pdu}
    if version.server_assigned_event_ids:
        for name in ("prev_events", "auth_events"):
            completed[name] = [[event_id, {}] for event_id in pdu[name]]
    return completed
