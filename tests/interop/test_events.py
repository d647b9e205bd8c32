"""Events that we build stand up to Synapse's own library functions, in every room version."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from murmuration.protocol import canonical_json
from murmuration.protocol.events import Event
from murmuration.protocol.redaction import redact
from murmuration.protocol.room_versions import get_room_version

from .cases.canonical import LAX, STRICT
from .cases.events import ROOM_VERSIONS, Template, write_room
from .our_library import OurSigner, hash_and_sign, public_keys
from .synapse_process import SynapseProcess


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_synapse_derives_the_same_from_our_events(synapse: SynapseProcess, version: str) -> None:
    room_version = get_room_version(version)

    def write(template: Template) -> str:
        pdu = hash_and_sign(version, template)
        event = Event(pdu, room_version)
        keys = public_keys(template.signers)
        theirs = synapse.ask("describe", version=version, pdu=pdu, keys=keys)
        assert theirs["event_id"] == event.event_id, template.name
        assert theirs["content_hash"] == pdu["hashes"]["sha256"], template.name
        assert theirs["content_hash_matches"], template.name
        assert theirs["verifies"] == [True] * len(keys), template.name
        assert theirs["canonical"].encode() == canonical_json.encode(pdu, strict=False), template.name
        theirs["redacted"].pop("unsigned", None)
        assert theirs["redacted"] == redact(pdu, room_version), template.name
        return event.event_id

    write_room(version, write, OurSigner())


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_synapse_refuses_our_signature_once_the_event_changed(synapse: SynapseProcess, version: str) -> None:
    def write(template: Template) -> str:
        pdu = hash_and_sign(version, template)
        event_id = Event(pdu, get_room_version(version)).event_id
        keys = public_keys(template.signers)
        theirs = synapse.ask("describe", version=version, pdu={**pdu, "origin_server_ts": 5}, keys=keys)
        assert not theirs["content_hash_matches"]
        assert theirs["verifies"] == [False] * len(keys), template.name
        return event_id

    write_room(version, write, OurSigner())


def test_canonical_json_of_random_values(synapse: SynapseProcess) -> None:
    random = Random(7)
    values = [_random_value(random, 4) for _ in range(3000)] + [STRICT, LAX]
    theirs = synapse.ask("canonical", values=values)
    ours = [canonical_json.encode(value, strict=False).decode() for value in values]
    assert ours == theirs


def _random_value(random: Random, depth: int) -> Any:
    if depth and random.random() < 0.5:
        size = random.randrange(5)
        if random.random() < 0.5:
            return [_random_value(random, depth - 1) for _ in range(size)]
        return {_random_text(random): _random_value(random, depth - 1) for _ in range(size)}
    scalars = (
        None,
        True,
        False,
        random.randint(-(2**53) + 1, 2**53 - 1),
        random.getrandbits(80),
        random.uniform(-1e9, 1e9),
        _random_text(random),
        _random_text(random),
    )
    return random.choice(scalars)


def _random_text(random: Random) -> str:
    ranges = ((0, 0x7F), (0, 0x2FF), (0x2000, 0x20FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF))
    return "".join(chr(random.randint(*random.choice(ranges))) for _ in range(random.randrange(8)))
