from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from murmuration.protocol.errors import BadJson
from murmuration.protocol.identifiers import RoomId
from murmuration.protocol.pdus import hashing
from murmuration.protocol.pdus.redaction import redact
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.small_rooms import VERSIONS, SmallRoom

# https://spec.matrix.org/v1.19/appendices/#event-signing
MINIMAL = {
    "room_id": "!x:domain",
    "sender": "@a:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "signatures": {},
    "hashes": {},
    "type": "X",
    "content": {},
    "prev_events": [],
    "auth_events": [],
    "depth": 3,
    "unsigned": {"age_ts": 1000000},
}
WITH_CONTENT = {
    "content": {"body": "Here is the message content"},
    "event_id": "$0:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "type": "m.room.message",
    "room_id": "!r:domain",
    "sender": "@u:domain",
    "signatures": {},
    "unsigned": {"age_ts": 1000000},
}
MINIMAL_HASH = "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"
WITH_CONTENT_HASH = "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"


@pytest.mark.parametrize(("pdu", "expected"), [(MINIMAL, MINIMAL_HASH), (WITH_CONTENT, WITH_CONTENT_HASH)])
def test_the_specification_s_content_hashes(pdu: dict[str, Any], expected: str) -> None:
    assert hashing.content_hash(pdu) == expected
    for written in (expected, expected + "=", expected.replace("+", "-").replace("/", "_")):
        assert hashing.verify_content_hash({**pdu, "hashes": {"sha256": written}})


@pytest.mark.parametrize(
    "hashes",
    [
        None,
        [],
        {},
        {"sha256": None},
        {"sha256": ""},
        {"sha256": "é"},
        {"sha256": "A"},
        {"sha256": MINIMAL_HASH[:-4]},
    ],
)
def test_a_missing_or_malformed_hash_is_wrong(hashes: object) -> None:
    assert not hashing.verify_content_hash({**MINIMAL, "hashes": hashes})


def test_the_content_hash_covers_all_but_three_keys() -> None:
    signed = {**WITH_CONTENT, "hashes": {"sha256": WITH_CONTENT_HASH}}
    for key in ("unsigned", "signatures"):
        assert hashing.verify_content_hash({**signed, key: {"anything": 1}})
    for key in set(WITH_CONTENT) - {"unsigned", "signatures"}:
        assert not hashing.verify_content_hash({**signed, key: "changed"})
    assert not hashing.verify_content_hash({**signed, "another": 1})


def test_an_event_without_canonical_json_has_no_right_hash() -> None:
    assert not hashing.verify_content_hash({"hashes": {"sha256": MINIMAL_HASH}, "content": {"a": "\ud800"}})
    with pytest.raises(BadJson):
        hashing.reference_hash(
            {"type": "m.room.create", "content": {"a": "\ud800"}}, ROOM_VERSIONS[RoomId("12")]
        )


def naive_reference_hash(pdu: Mapping[str, Any], version: RoomVersion) -> bytes:
    """Compute it as
    https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event
    """
    redacted = redact(pdu, version)
    redacted.pop("signatures", None)
    redacted.pop("unsigned", None)
    text = json.dumps(redacted, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("UTF-8")).digest()


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.id}")
def test_event_ids_by_version(version: RoomVersion) -> None:
    event = SmallRoom(version).make("m.room.message", {"body": "☃"})
    digest = naive_reference_hash(event.pdu, version)
    assert hashing.reference_hash(event.pdu, version) == digest
    expected = {
        "1": event.pdu.get("event_id"),
        "2": event.pdu.get("event_id"),
        "3": "$" + base64.b64encode(digest).decode().rstrip("="),
    }.get(version.id, "$" + base64.urlsafe_b64encode(digest).decode().rstrip("="))
    assert hashing.event_id_for(event.pdu, version) == expected
    assert hashing.event_id_for(redact(event.pdu, version), version) == expected
    assert hashing.event_id_for({**event.pdu, "unsigned": {"age": 1}, "signatures": {}}, version) == expected


def test_a_room_of_version_12_is_named_after_its_create_event() -> None:
    room = SmallRoom(ROOM_VERSIONS[RoomId("12")])
    create_id = hashing.event_id_for(room.create.pdu, room.version)
    assert "!" + create_id.removeprefix("$") == room.room_id


def test_an_event_of_version_1_without_an_id_has_none() -> None:
    with pytest.raises(BadJson):
        hashing.event_id_for({"type": "m.room.message"}, ROOM_VERSIONS[RoomId("1")])
