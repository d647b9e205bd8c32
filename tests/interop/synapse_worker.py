"""Answers questions about events with Synapse's library functions, one JSON object a line, until input ends.

Runs under Synapse's Python, started by `synapse_process`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from canonicaljson import encode_canonical_json
from synapse.event_auth import validate_event_for_room_version
from synapse.federation.federation_base import event_from_pdu_json

from .synapse_library import (
    EventStore,
    describe,
    room_version,
    signature_verifies,
    state_map,
    verdict,
)


def describe_event(version: str, pdu: Any, keys: list[list[str]]) -> dict[str, Any]:
    """Return what Synapse derives from a PDU, and whether each (server, key ID, public key) signed it."""
    described = describe(room_version(version), pdu)
    return {**described, "verifies": [signature_verifies(room_version(version), pdu, *key) for key in keys]}


def receive(version: str, pdu: Any) -> str:
    """Return the event ID of a PDU. Raises if the PDU fails the checks that Synapse makes of received
    events.
    """
    event = event_from_pdu_json(pdu, room_version(version))
    validate_event_for_room_version(event)
    return event.event_id  # type: ignore[no-any-return]


def canonical(values: list[Any]) -> list[str]:
    return [encode_canonical_json(value).decode() for value in values]


def judge(version: str, events: list[Any], cases: list[list[Any]]) -> list[str]:
    """Return the verdict on each case: the position of an event, and the positions of its state."""
    store = EventStore(room_version(version))
    made = [store.add(pdu) for pdu in events]
    return [verdict(made[event], [made[item] for item in state])[0] for event, state in cases]


def resolve(version: str, events: list[Any], cases: list[list[list[int]]]) -> list[list[int]]:
    """Return the resolution of each case: lists of states, each a list of positions of events."""
    store = EventStore(room_version(version))
    made = [store.add(pdu) for pdu in events]
    position = {event.event_id: index for index, event in enumerate(made)}
    resolved = []
    for state_sets in cases:
        states = [state_map([made[item] for item in state]) for state in state_sets]
        answer = store.resolve(made[0].room_id, states)
        resolved.append(sorted(position[event_id] for event_id in answer.values()))
    return resolved


QUESTIONS: dict[str, Callable[..., Any]] = {
    "describe": describe_event,
    "receive": receive,
    "canonical": canonical,
    "judge": judge,
    "resolve": resolve,
}


def main() -> None:
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"answer": QUESTIONS[question["question"]](**question["about"])}
        except Exception as error:  # noqa: BLE001
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
