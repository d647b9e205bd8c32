"""The same work with Synapse's library. It runs in Synapse's Python, and gets one request a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import process_time
from typing import Any

from canonicaljson import encode_canonical_json
from nacl.signing import SigningKey
from signedjson.sign import verify_signed_json
from synapse.api.errors import AuthError
from synapse.api.room_versions import RoomVersions
from synapse.crypto.event_signing import add_hashes_and_signatures, check_event_content_hash
from synapse.event_auth import auth_types_for_event, check_state_dependent_auth_rules
from synapse.events import EventBase, make_event_from_dict
from synapse.events.utils import validate_canonicaljson
from synapse.synapse_rust.events import redact_event_dict

from tests.interop.synapse_library import EventStore, room_version, state_map

from .inputs import KEY_VERSION, SEED, SERVER, Pdu, messages
from .timing import Work, seconds

VERSION = RoomVersions.V11


def signing_key() -> Any:
    key: Any = SigningKey(SEED)
    key.alg, key.version = "ed25519", KEY_VERSION
    return key


KEY = signing_key()


def event_work() -> dict[str, Work]:
    templates = messages()
    signed = [dict(pdu) for pdu in templates]
    for pdu in signed:
        add_hashes_and_signatures(VERSION, pdu, SERVER, KEY)
    events = [make_event_from_dict(pdu, VERSION) for pdu in signed]
    public = KEY.verify_key
    public.alg, public.version = "ed25519", KEY_VERSION

    def encode() -> None:
        for pdu in signed:
            encode_canonical_json(pdu)

    def encode_strictly() -> None:
        for pdu in signed:
            validate_canonicaljson(pdu)
            encode_canonical_json(pdu)

    def sign() -> None:
        for pdu in templates:
            add_hashes_and_signatures(VERSION, dict(pdu), SERVER, KEY)

    def identify() -> None:
        for pdu in signed:
            _ = make_event_from_dict(pdu, VERSION).event_id

    def verify() -> None:
        for event in events:
            verify_signed_json(redact_event_dict(VERSION, event.get_pdu_json()), SERVER, public)
            if not check_event_content_hash(event):
                raise AssertionError("a good event did not verify")

    return {
        "canonical JSON": encode,
        "canonical JSON, numbers checked": encode_strictly,
        "hash and sign": sign,
        "event ID": identify,
        "verify": verify,
    }


class TimedStore(EventStore):
    """Counts the time that it takes, so that it can be left out: in Synapse the database would take it."""

    def __init__(self, version: Any) -> None:
        super().__init__(version)
        self.spent = 0.0

    async def get_events(
        self, event_ids: Iterable[str], allow_rejected: bool = False
    ) -> dict[str, EventBase]:
        start = process_time()
        events = await super().get_events(event_ids, allow_rejected)
        self.spent += process_time() - start
        return events

    async def get_auth_chain_difference(self, *about: Any) -> Any:
        start = process_time()
        difference = await super().get_auth_chain_difference(*about)
        self.spent += process_time() - start
        return difference


class Rooms:
    """The rooms loaded so far, and the work on them."""

    def __init__(self) -> None:
        self.work: dict[str, Work] = dict(event_work())
        self.stores: dict[str, TimedStore] = {}
        self.resolved: dict[str, Any] = {}

    def load(self, name: str, version: str, events: list[Pdu], state_sets: list[list[int]]) -> dict[str, Any]:
        """Load a forked room, and return its resolution, for comparison."""
        store = self.stores[name] = TimedStore(room_version(version))
        made = [store.add(pdu) for pdu in events]
        states = [state_map([made[position] for position in state]) for state in state_sets]

        def resolve() -> dict[Any, str]:
            return store.resolve(made[0].room_id, states)

        self.work[name] = resolve
        in_force = {pair: store.events[event_id] for pair, event_id in states[0].items()}
        self.work["auth check"] = _auth_work(made[-8:], in_force)
        position = {event.event_id: index for index, event in enumerate(made)}
        return {"resolved": sorted(position[event_id] for event_id in resolve().values())}

    def load_contested(self, name: str, version: str, events: list[Pdu], cases: Any) -> dict[str, Any]:
        """Load a room with many resolutions, and return their results."""
        store = self.stores[name] = TimedStore(room_version(version))
        made = [store.add(pdu) for pdu in events]
        resolutions = [[state_map([made[it] for it in state]) for state in sets] for sets in cases]

        def resolve_all() -> None:
            for states in resolutions:
                store.resolve(made[0].room_id, states)

        self.work[name] = resolve_all
        position = {event.event_id: index for index, event in enumerate(made)}
        resolved = [store.resolve(made[0].room_id, states) for states in resolutions]
        return {"resolved": [sorted(position[it] for it in state.values()) for state in resolved]}

    def time(self, name: str, times: int) -> dict[str, float]:
        """Return the seconds of `times` runs, and how many of them the stand-in for the database took."""
        store = self.stores.get(name)
        if store is not None:
            store.spent = 0.0
        total = seconds(self.work[name], times)
        return {"total": total, "store": store.spent if store is not None else 0.0}


def _auth_work(judged: Sequence[EventBase], state: dict[Any, EventBase]) -> Work:
    def check() -> None:
        for event in judged:
            keys = auth_types_for_event(event.room_version, event)
            with suppress(AuthError):
                check_state_dependent_auth_rules(event, [state[key] for key in keys if key in state])

    return check


def main() -> None:
    rooms = Rooms()
    questions: dict[str, Callable[..., Any]] = {
        "load": rooms.load,
        "load_contested": rooms.load_contested,
        "time": rooms.time,
    }
    for line in sys.stdin:
        question = json.loads(line)
        answer = questions[question["question"]](**question["about"])
        sys.stdout.write(json.dumps({"answer": answer}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
