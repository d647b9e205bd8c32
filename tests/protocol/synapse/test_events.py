"""Events that Synapse built, in every room version: same bytes, hashes, ID and redaction; good signatures."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import BadJson
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId
from murmuration.protocol.pdus import hashing, redaction, signing
from murmuration.protocol.room_versions import ROOM_VERSIONS
from tests.interop.cases.events import Template
from tests.interop.our_library import hash_and_sign

from .recorded import VERSIONS, load


def cases(version: str) -> list[dict[str, Any]]:
    recorded: list[dict[str, Any]] = load("events")["versions"][version]
    return recorded


def signing_keys() -> dict[str, tuple[str, bytes]]:
    return {
        name: (key["key_id"], base64.b64decode(key["public_key"] + "="))
        for name, key in load("events")["keys"].items()
    }


def without_unsigned(pdu: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in pdu.items() if key != "unsigned"}


def test_every_room_version_is_recorded() -> None:
    assert set(load("events")["versions"]) == set(ROOM_VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_event_ids_and_hashes_agree(version: str) -> None:
    room_version = ROOM_VERSIONS[version]
    for case in cases(version):
        pdu, name = case["pdu"], case["name"]
        assert canonical_json.encode(pdu, strict=False) == case["canonical"].encode(), name
        assert hashing.content_hash(pdu) == case["content_hash"] == pdu["hashes"]["sha256"], name
        assert hashing.verify_content_hash(pdu) is case["content_hash_matches"] is True, name
        reference_hash = base64.b64decode(case["reference_hash"] + "=")
        assert hashing.reference_hash(pdu, room_version) == reference_hash, name
        assert Event(pdu, room_version).event_id == case["event_id"], name


@pytest.mark.parametrize("version", VERSIONS)
def test_redacted_forms_agree(version: str) -> None:
    room_version = ROOM_VERSIONS[version]
    for case in cases(version):
        redacted: Any = redaction.redact(case["pdu"], room_version)
        # Synapse keeps its own entries of `unsigned`, which the algorithm doesn't list and no hash covers.
        assert redacted == without_unsigned(case["redacted"]), case["name"]
        assert Event(redacted, room_version).event_id == case["event_id"], case["name"]


@pytest.mark.parametrize("version", VERSIONS)
def test_signatures_verify_before_and_after_redaction(version: str) -> None:
    room_version, keys = ROOM_VERSIONS[version], signing_keys()
    for case in cases(version):
        redacted = redaction.redact(case["pdu"], room_version)
        assert case["signers"]
        for server_name in case["signers"]:
            key_id, public = keys[server_name]
            signing.verify_event(case["pdu"], server_name, key_id, public, room_version)
            signing.verify_event(redacted, server_name, key_id, public, room_version)


@pytest.mark.parametrize("version", VERSIONS)
def test_we_sign_the_same_bytes(version: str) -> None:
    """Ed25519 signatures are deterministic, so that with the same key ours are Synapse's."""
    for case in cases(version):
        template = {key: value for key, value in case["pdu"].items() if key not in ("hashes", "signatures")}
        hashes = {name: value for name, value in case["pdu"]["hashes"].items() if name != "sha256"}
        pdu = {**template, "hashes": hashes} if hashes else template
        signed = hash_and_sign(version, Template(case["name"], pdu, tuple(case["signers"])))
        assert signed == case["pdu"], case["name"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_changed_event_no_longer_verifies(version: str) -> None:
    room_version, keys = ROOM_VERSIONS[version], signing_keys()
    for case in cases(version):
        content_changed = {**case["pdu"], "content": {"something": "else"}}
        assert not hashing.verify_content_hash(content_changed), case["name"]
        kept_changed = {**case["pdu"], "depth": case["pdu"]["depth"] - 1}
        for server_name in case["signers"]:
            key_id, public = keys[server_name]
            with pytest.raises(signing.InvalidSignature):
                signing.verify_event(kept_changed, server_name, key_id, public, room_version)


@pytest.mark.parametrize("case", load("canonical_json")["strict"], ids=lambda case: case["name"])
def test_canonical_json_agrees(case: dict[str, Any]) -> None:
    assert canonical_json.encode(case["value"]) == case["canonical"].encode()
    assert canonical_json.loads(case["canonical"]) == case["value"]


@pytest.mark.parametrize("case", load("canonical_json")["lax"], ids=lambda case: case["name"])
def test_what_only_old_room_versions_allow_agrees(case: dict[str, Any]) -> None:
    assert canonical_json.encode(case["value"], strict=False) == case["canonical"].encode()
    with pytest.raises(BadJson):
        canonical_json.encode(case["value"])


@pytest.mark.parametrize("case", load("signed_json")["cases"])
def test_signed_objects_verify(case: dict[str, Any]) -> None:
    key_id, public = signing_keys()[case["signer"]]
    signing.verify_json(case["signed"], case["signer"], key_id, public)
    with pytest.raises(signing.InvalidSignature):
        signing.verify_json({**case["signed"], "added": 1}, case["signer"], key_id, public)


@pytest.mark.parametrize("version", VERSIONS)
def test_where_synapse_departs_from_the_content_hash_we_keep_to_the_specification(version: str) -> None:
    """Synapse hashes without top-level `age_ts`, `outlier`, `destinations`; the specification knows none.

    Only `unsigned`, `signatures` and `hashes` are outside the hash, so such an event is taken for redacted
    here. Its ID and signature, which cover the redacted form, agree all the same.
    https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event
    """
    for case in load("events")["departures"][version]:
        assert case["content_hash_matches"] is True
        assert hashing.verify_content_hash(case["pdu"]) is False
        (added,) = {"age_ts", "outlier", "destinations"} & set(case["pdu"])
        without = {key: value for key, value in case["pdu"].items() if key != added}
        assert hashing.content_hash(without) == case["content_hash"]
        assert Event(case["pdu"], ROOM_VERSIONS[version]).event_id == case[RoomId("event_id")]
