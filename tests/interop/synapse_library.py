"""What the recorder and the worker ask of Synapse's own library functions; runs under Synapse's Python.

No server is started and no database is used: where Synapse would ask its store, events are kept in a dict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from canonicaljson import encode_canonical_json
from nacl.signing import SigningKey as NaclSigningKey
from signedjson.key import decode_verify_key_bytes
from signedjson.sign import SignatureVerifyException, sign_json, verify_signed_json
from signedjson.types import SigningKey
from synapse.api.errors import SynapseError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS, RoomVersion, StateResolutionVersions
from synapse.crypto.event_signing import (
    add_hashes_and_signatures,
    check_event_content_hash,
    compute_content_hash,
    compute_event_reference_hash,
    compute_event_signature,
)
from synapse.event_auth import (
    auth_types_for_event,
    check_state_dependent_auth_rules,
    check_state_independent_auth_rules,
)
from synapse.events import EventBase, make_event_from_dict
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference
from synapse.synapse_rust.events import redact_event_dict
from unpaddedbase64 import decode_base64, encode_base64

from .cases.keys import KEYS
from .cases.resolution import Pdu, StateKey, StateMap

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never really waits."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    raise RuntimeError("the coroutine waited for something")


def room_version(identifier: str) -> RoomVersion:
    return KNOWN_ROOM_VERSIONS[identifier]


def signing_key(server_name: str) -> SigningKey:
    seed = KEYS[server_name]
    key: Any = NaclSigningKey(seed.seed)
    key.alg, key.version = "ed25519", seed.version
    return key


class SynapseSigner:
    """Signs with Synapse's functions."""

    def sign_json(self, value: dict[str, Any], server_name: str) -> dict[str, Any]:
        signed: dict[str, Any] = sign_json(dict(value), server_name, signing_key(server_name))
        return signed

    def public_key(self, server_name: str) -> str:
        return encode_base64(signing_key(server_name).verify_key.encode())


def hash_and_sign(version: RoomVersion, pdu: Pdu, signers: Sequence[str]) -> Pdu:
    """Return the PDU with its content hash, and a signature of each signer."""
    signed = dict(pdu)
    if "hashes" in signed:
        signed["hashes"] = dict(signed["hashes"])
    first, *others = signers
    add_hashes_and_signatures(version, signed, first, signing_key(first))
    for server_name in others:
        signed["signatures"] = compute_event_signature(version, signed, server_name, signing_key(server_name))
    return signed


def content_hash(pdu: Pdu) -> str:
    return encode_base64(compute_content_hash(pdu, hashlib.sha256)[1])


def reference_hash(event: EventBase) -> str:
    return encode_base64(compute_event_reference_hash(event)[1])


def describe(version: RoomVersion, pdu: Pdu) -> dict[str, Any]:
    """Return all that Synapse derives from a PDU: event ID, hashes, redacted form, canonical JSON as text."""
    event = make_event_from_dict(pdu, version)
    return {
        "event_id": event.event_id,
        "content_hash": content_hash(pdu),
        "content_hash_matches": check_event_content_hash(event),
        "reference_hash": reference_hash(event),
        "redacted": redact_event_dict(version, pdu),
        "canonical": encode_canonical_json(pdu).decode(),
    }


def signature_verifies(
    version: RoomVersion, pdu: Pdu, server_name: str, key_id: str, public_key: str
) -> bool:
    """Return whether Synapse accepts the server's signature of the event."""
    key = decode_verify_key_bytes(key_id, decode_base64(public_key))
    return json_signature_verifies(redact_event_dict(version, pdu), server_name, key)


def json_signature_verifies(value: dict[str, Any], server_name: str, key: Any) -> bool:
    try:
        verify_signed_json(value, server_name, key)
    except SignatureVerifyException:
        return False
    return True


def verdict(event: EventBase, state: Iterable[EventBase]) -> tuple[str, str]:
    """Return ("allow" | "refuse" | "crash", Synapse's message) by the rules that depend on state.

    "crash" is an exception that Synapse didn't mean to raise. Its callers refuse such an event too.
    """
    return _judge(lambda: check_state_dependent_auth_rules(event, list(state)))


def verdict_on_auth_events(event: EventBase, auth_events: Mapping[str, EventBase]) -> tuple[str, str]:
    """Return the verdict of the rules that don't depend on state: create events, and the choice of
    `auth_events`.
    """

    class Store:
        async def get_events(self, ids: Collection[str], **_: Any) -> dict[str, EventBase]:
            return {event_id: auth_events[event_id] for event_id in ids}

    return _judge(lambda: run(check_state_independent_auth_rules(Store(), event)))


def _judge(check: Any) -> tuple[str, str]:
    try:
        check()
    except SynapseError as refusal:
        return "refuse", refusal.msg
    except Exception as crash:  # noqa: BLE001
        return "crash", f"{type(crash).__name__}: {crash}".partition("\n")[0]
    return "allow", ""


class Clock:
    async def sleep(self, duration: object) -> None:
        pass


class EventStore:
    """Events in memory, with what state resolution asks of Synapse's database."""

    def __init__(self, version: RoomVersion) -> None:
        self.version = version
        self.events: dict[str, EventBase] = {}

    def add(self, pdu: Pdu) -> EventBase:
        event = make_event_from_dict(complete(pdu, self.version), self.version)
        self.events[event.event_id] = event
        return event

    async def get_events(
        self, event_ids: Iterable[str], allow_rejected: bool = False
    ) -> dict[str, EventBase]:
        return {event_id: self.events[event_id] for event_id in event_ids if event_id in self.events}

    async def get_auth_chain_difference(
        self,
        room_id: str,
        state_sets: list[set[str]],
        conflicted_state: set[str] | None,
        additional_backwards_reachable_conflicted_events: set[str] | None,
    ) -> StateDifference:
        # What every set holds is in every chain with its own chain, so only the rest needs walking.
        shared = state_sets[0].intersection(*state_sets[1:])
        below = self._chain(shared)
        chains = [self._chain(state_set - shared, below) for state_set in state_sets]
        difference = chains[0].union(*chains[1:]) - chains[0].intersection(*chains[1:])
        return StateDifference(
            difference, None if conflicted_state is None else self._subgraph(conflicted_state)
        )

    def _chain(self, event_ids: Iterable[str], without: Collection[str] = ()) -> set[str]:
        found: set[str] = set()
        queue = list(event_ids)
        while queue:
            event_id = queue.pop()
            if event_id not in found and event_id not in without:
                found.add(event_id)
                queue.extend(self.events[event_id].auth_event_ids())
        return found

    def _subgraph(self, conflicted: set[str]) -> set[str]:
        backwards = self._chain(conflicted)
        after: dict[str, list[str]] = {}
        for event_id in backwards:
            for auth_event_id in self.events[event_id].auth_event_ids():
                after.setdefault(auth_event_id, []).append(event_id)
        forwards: set[str] = set()
        queue = list(conflicted)
        while queue:
            event_id = queue.pop()
            if event_id not in forwards:
                forwards.add(event_id)
                queue.extend(after.get(event_id, ()))
        return backwards & forwards

    def resolve(self, room_id: str, state_sets: Sequence[Mapping[StateKey, str]]) -> StateMap:
        if self.version.state_res == StateResolutionVersions.V1:
            return dict(
                run(v1.resolve_events_with_store(room_id, self.version, state_sets, None, self.get_events))
            )
        return dict(run(v2.resolve_events_with_store(Clock(), room_id, self.version, state_sets, None, self)))


def state_map(events: Iterable[EventBase]) -> StateMap:
    return {(event.type, event.state_key): event.event_id for event in events}


def complete(pdu: Pdu, version: RoomVersion) -> Pdu:
    """Return the PDU with the fields that Synapse requires: (empty) hashes and signatures, references as in
    versions 1 and 2.
    """
    completed = {"hashes": {}, "signatures": {}, **pdu}
    if version.identifier in ("1", "2"):
        for name in ("prev_events", "auth_events"):
            completed[name] = [[item, {}] if isinstance(item, str) else item for item in pdu[name]]
    return completed


class SynapseEngine:
    """Runs a simulated room with Synapse's rules."""

    def __init__(self, version: str) -> None:
        self.store = EventStore(room_version(version))

    def add(self, pdu: Pdu, state: StateMap) -> tuple[str, bool]:
        event = self.store.add(pdu)
        keys = auth_types_for_event(self.store.version, event)
        auth_events = [self.store.events[state[key]] for key in keys if key in state]
        answer, _ = verdict(event, auth_events)
        return event.event_id, answer == "allow"

    def resolve(self, state_sets: Sequence[StateMap]) -> StateMap:
        any_event = next(iter(state_sets[0].values()))
        return self.store.resolve(self.store.events[any_event].room_id, state_sets)
