"""Record Synapse's results for the cases, as fixtures for tests/protocol/synapse/.

Run under the Python that has Synapse, from the repository's root, as a module:
`python -m tests.interop.record_synapse_events [folder]`. The same Synapse gives the same bytes every time.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from canonicaljson import encode_canonical_json
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.events import make_event_from_dict

from .cases.auth import auth_cases, auth_events_cases, create_cases
from .cases.canonical import LAX, STRICT
from .cases.drafts import PduWriter
from .cases.events import ROOM_VERSIONS, Template, Write, departures, write_room
from .cases.keys import KEYS, LOCAL
from .cases.resolution import SimulatedRoom
from .synapse_library import (
    SynapseEngine,
    SynapseSigner,
    describe,
    hash_and_sign,
    room_version,
    signature_verifies,
    verdict,
    verdict_on_auth_events,
)

FIXTURES = Path(__file__).parent.parent / "protocol" / "synapse" / "fixtures"
SIGNER = SynapseSigner()
WriteTemplates = Callable[[str, Write], None]


def versions() -> list[str]:
    return [identifier for identifier in ROOM_VERSIONS if identifier in KNOWN_ROOM_VERSIONS]


def record_canonical_json() -> dict[str, Any]:
    def encoded(values: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"name": name, "value": value, "canonical": encode_canonical_json(value).decode()}
            for name, value in values.items()
        ]

    return {"strict": encoded(STRICT), "lax": encoded(LAX)}


def record_signed_json() -> list[dict[str, Any]]:
    values = [
        STRICT,
        {},
        {"unsigned": {"age": 1}, "a": 1},
        {"signatures": {"other.example": {"ed25519:1": "AA"}}, "a": 1},
    ]
    return [
        {"signer": LOCAL, "value": value, "signed": SIGNER.sign_json(json.loads(json.dumps(value)), LOCAL)}
        for value in values
    ]


def record_events(identifier: str, write_templates: WriteTemplates) -> list[dict[str, Any]]:
    version = room_version(identifier)
    recorded = []

    def write(template: Template) -> str:
        pdu = hash_and_sign(version, json.loads(json.dumps(template.pdu)), template.signers)
        for server_name in template.signers:
            key = KEYS[server_name]
            if not signature_verifies(version, pdu, server_name, key.key_id, SIGNER.public_key(server_name)):
                raise RuntimeError(f"{template.name}: Synapse refuses its own signature")
        recorded.append(
            {"name": template.name, "signers": template.signers, "pdu": pdu, **describe(version, pdu)}
        )
        return recorded[-1]["event_id"]  # type: ignore[no-any-return]

    write_templates(identifier, write)
    return recorded


class Pool:
    """Events written once and named by their position."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._positions: dict[str, int] = {}

    def position(self, item: Any) -> int:
        key = json.dumps(item, sort_keys=True)
        if key not in self._positions:
            self._positions[key] = len(self.items)
            self.items.append(item)
        return self._positions[key]


def record_auth(identifier: str) -> dict[str, Any]:
    version = room_version(identifier)
    writer = PduWriter(int(identifier), lambda pdu: make_event_from_dict(pdu, version).event_id)
    pool = Pool()
    state_cases, auth_events = [], []
    for case in auth_cases(int(identifier), SIGNER):
        pdu, state = writer.case(case)
        answer = _verdict(partial(_judge, version, pdu, state))
        state_cases.append([case.name, pool.position(pdu), [pool.position(item) for item in state], *answer])
    for listed in (*create_cases(int(identifier)), *auth_events_cases(int(identifier))):
        pdu, cited, create = writer.auth_events_case(listed)
        rejected = writer.rejected(listed)
        answer = _verdict(partial(_judge_cited, version, pdu, cited, rejected, create))
        positions = [pool.position(item) for item in cited]
        creation = None if create is None else pool.position(create)
        auth_events.append([listed.name, pool.position(pdu), positions, rejected, creation, *answer])
    return {"events": pool.items, "state": state_cases, "auth_events": auth_events}


def _verdict(judge: Any) -> tuple[str, str]:
    """Return Synapse's verdict on an event; "refuse" if Synapse can't even read the event."""
    try:
        return judge()  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001
        return "refuse", f"not an event: {error}"


def _judge(version: Any, pdu: Any, state: list[Any]) -> tuple[str, str]:
    return verdict(
        make_event_from_dict(pdu, version), [make_event_from_dict(item, version) for item in state]
    )


def _judge_cited(
    version: Any, pdu: Any, cited: list[Any], rejected: list[int], create: Any
) -> tuple[str, str]:
    event = make_event_from_dict(pdu, version)
    events = [
        make_event_from_dict(item, version, rejected_reason="rejected" if position in rejected else None)
        for position, item in enumerate(cited)
    ]
    if create is not None:
        events.append(make_event_from_dict(create, version))
    return verdict_on_auth_events(event, {item.event_id: item for item in events})


def record_resolution(identifier: str) -> list[dict[str, Any]]:
    return [_record_room(int(identifier), seed) for seed in range(6)]


def _record_room(version: int, seed: int) -> dict[str, Any]:
    """Return the room's events, with references by position in this list, and each resolution by position
    too.
    """
    room = SimulatedRoom(version, seed, SynapseEngine(str(version)))
    room.run(steps=150, branches=2 + seed % 3)
    position = {event_id: index for index, event_id in enumerate(room.events)}
    events = []
    for pdu in room.events.values():
        short = {key: value for key, value in pdu.items() if key != "room_id"}
        for name in ("prev_events", "auth_events"):
            short[name] = [position[event_id] for event_id in pdu[name]]
        events.append(short)
    return {
        "seed": seed,
        "room_id": room.room_id,
        "last_event_id": list(room.events)[-1],
        "events": events,
        "resolutions": [
            {
                "state_sets": [
                    sorted(position[event_id] for event_id in state.values()) for state in made.state_sets
                ],
                "resolved": sorted(position[event_id] for event_id in made.resolved.values()),
            }
            for made in room.resolutions
        ],
    }


def write_fixture(folder: Path, name: str, content: Any) -> None:
    document = {"synapse": installed_version("matrix-synapse"), **content}
    data = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json.gz"
    path.write_bytes(gzip.compress(data, compresslevel=9, mtime=0))
    print(f"{path.name}: {path.stat().st_size:,} bytes of {len(data):,}")


def main(folder: Path) -> None:
    keys = {name: {"key_id": key.key_id, "public_key": SIGNER.public_key(name)} for name, key in KEYS.items()}
    write_fixture(folder, "canonical_json", record_canonical_json())
    write_fixture(folder, "signed_json", {"keys": keys, "cases": record_signed_json()})
    rooms = {version: record_events(version, partial(write_room, signer=SIGNER)) for version in versions()}
    departed = {version: record_events(version, departures) for version in versions()}
    write_fixture(folder, "events", {"keys": keys, "versions": rooms, "departures": departed})
    write_fixture(folder, "auth", {"versions": {version: record_auth(version) for version in versions()}})
    write_fixture(
        folder,
        "state_resolution",
        {"versions": {version: record_resolution(version) for version in versions()}},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES)
