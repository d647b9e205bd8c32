"""Events that we build stand up to Synapse's own library functions, in every room version."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
from murmuration.protocol.pdus.building import build_event
from murmuration.protocol.pdus.hashing import reference_hash
from murmuration.protocol.pdus.redaction import redact
from murmuration.protocol.room_versions import get_room_version

from .cases.canonical import LAX, STRICT
from .cases.events import ROOM_VERSIONS, Template, write_room
from .cases.keys import LOCAL
from .our_library import OurSigner, hash_and_sign, public_keys, signing_key
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


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_synapse_receives_the_events_we_build(synapse: SynapseProcess, version: str) -> None:
    room_version, key = get_room_version(version), signing_key(LOCAL)
    made: list[Event] = []

    def build(type_: str, content: dict[str, Any], state_key: str | None, redacts: str | None = None) -> None:
        previous = made[-1:]
        is_room_id = room_version.create_event_is_room_id
        room_id = (made[0].room_id if made else None) if is_room_id else RoomId(f"!room:{LOCAL}")
        event = build_event(
            room_version=room_version,
            type=type_,
            sender=UserId(f"@alice:{LOCAL}"),
            content=content,
            room_id=room_id,
            prev_events=[event.event_id for event in previous],
            auth_events=[event.event_id for event in (made[1:2] if is_room_id else made[:2])],
            depth=len(made) + 1,
            origin_server_ts=1_700_000_000_000,
            server_name=ServerName(LOCAL),
            signing_key=key,
            state_key=state_key,
            redacts=redacts,
            event_id=EventId(f"${len(made)}:{LOCAL}") if room_version.server_assigned_event_ids else None,
            reference_hashes={event.event_id: reference_hash(event.pdu, room_version) for event in made},
        )
        assert synapse.ask("receive", version=version, pdu=event.pdu) == event.event_id
        theirs = synapse.ask("describe", version=version, pdu=event.pdu, keys=public_keys([LOCAL]))
        assert theirs["event_id"] == event.event_id
        assert theirs["content_hash_matches"]
        assert theirs["verifies"] == [True]
        made.append(event)

    creator = {} if room_version.implicit_room_creator else {"creator": f"@alice:{LOCAL}"}
    build("m.room.create", {"room_version": version, **creator}, "")
    build("m.room.member", {"membership": "join", "displayname": "Alice \U0001f600"}, f"@alice:{LOCAL}")
    build("m.room.message", {"body": "hello", "msgtype": "m.text"}, None)
    build("m.room.redaction", {"reason": "typo"}, None, redacts=made[-1].event_id)


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
