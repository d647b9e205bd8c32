from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murmuration.protocol.encoding import canonical_json, unpadded_base64
from murmuration.protocol.errors import BadJson, NotJson
from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.protocol.pdus.building import hash_and_sign
from murmuration.protocol.pdus.signing import (
    InvalidSignature,
    SigningKey,
    key_ids_of,
    sign_event,
    sign_json,
    verify_event,
    verify_json,
)
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.encoding.test_canonical_json import VALUES
from tests.protocol.pdus.test_hashing import MINIMAL, MINIMAL_HASH, WITH_CONTENT, WITH_CONTENT_HASH
from tests.protocol.small_rooms import KEYS, OTHER_SERVER, SERVER, VERSIONS, SmallRoom

# https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors
SEED = unpadded_base64.decode("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
KEY = SigningKey(SEED, "1")
DOMAIN = ServerName("domain")


def signatures(signature: str) -> dict[str, Any]:
    return {DOMAIN: {"ed25519:1": signature}}


@pytest.mark.parametrize(
    ("value", "signature"),
    [
        ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_the_specification_s_signed_json(value: dict[str, Any], signature: str) -> None:
    signed = sign_json(value, DOMAIN, KEY)
    assert signed == {**value, "signatures": signatures(signature)}
    verify_json(signed, DOMAIN, "ed25519:1", KEY.public_key)


@pytest.mark.parametrize(
    ("pdu", "content_hash", "signature"),
    [
        (
            MINIMAL,
            MINIMAL_HASH,
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        ),
        (
            WITH_CONTENT,
            WITH_CONTENT_HASH,
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        ),
    ],
)
def test_the_specification_s_signed_events(pdu: Any, content_hash: str, signature: str) -> None:
    before = copy.deepcopy(pdu)
    signed = hash_and_sign(pdu, DOMAIN, KEY, ROOM_VERSIONS[RoomId("1")])
    assert signed == {**pdu, "hashes": {"sha256": content_hash}, "signatures": signatures(signature)}
    assert pdu == before
    verify_event(signed, DOMAIN, "ed25519:1", KEY.public_key, ROOM_VERSIONS[RoomId("1")])


def test_the_key_s_public_half() -> None:
    assert KEY.key_id == "ed25519:1"
    assert unpadded_base64.decode(KEY.public_base64) == KEY.public_key
    assert len(KEY.sign(b"message")) == 64
    secret = unpadded_base64.encode(SEED)
    assert secret not in repr(KEY)
    assert KEY.public_base64 in repr(KEY)


@pytest.mark.parametrize(
    ("seed", "version"),
    [(b"short", "1"), (b"a" * 33, "1"), (SEED, ""), (SEED, "a-b"), (SEED, "a:b"), (SEED, "é")],
)
def test_keys_that_cannot_be(seed: bytes, version: str) -> None:
    with pytest.raises(ValueError, match=r"seed has 32 bytes|letters, digits"):
        SigningKey(seed, version)


def test_signatures_add_up_and_the_object_stays_as_it_was() -> None:
    value = {"a": 1, "unsigned": {"age": 1}, "signatures": {OTHER_SERVER: {"ed25519:x": "AAAA"}}}
    before = copy.deepcopy(value)
    signed = sign_json(sign_json(value, SERVER, KEYS[SERVER]), ServerName(SERVER), KEY)
    assert value == before
    assert key_ids_of(signed, ServerName(SERVER)) == ["ed25519:a", "ed25519:1"]
    assert key_ids_of(signed, ServerName(OTHER_SERVER)) == ["ed25519:x"]
    verify_json(signed, ServerName(SERVER), "ed25519:a", KEYS[SERVER].public_key)
    verify_json({**signed, "unsigned": {"age": 2}}, ServerName(SERVER), "ed25519:1", KEY.public_key)


@pytest.mark.parametrize("public_key", [b"\1" + bytes(31), bytes(32), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_keys_of_small_order_sign_nothing(public_key: bytes) -> None:
    """With such a key, the equation of Ed25519 also holds for signatures that nobody made."""
    for point in (b"\1" + bytes(31), bytes(32), b"\xec" + b"\xff" * 30 + b"\x7f"):
        forged = {"a": 1, "signatures": signatures(unpadded_base64.encode(point + bytes(32)))}
        with pytest.raises(InvalidSignature):
            verify_json(forged, DOMAIN, "ed25519:1", public_key)


@settings(max_examples=60)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES), st.data())
def test_any_flipped_bit_fails(value: dict[str, Any], data: st.DataObject) -> None:
    value = {key: inner for key, inner in value.items() if key not in ("signatures", "unsigned")}
    signed = sign_json(value, DOMAIN, KEY)
    verify_json(signed, DOMAIN, "ed25519:1", KEY.public_key)

    signature = unpadded_base64.decode(signed["signatures"][DOMAIN]["ed25519:1"])
    forged = {**value, "signatures": signatures(unpadded_base64.encode(flip_a_bit(signature, data)))}
    with pytest.raises(InvalidSignature):
        verify_json(forged, DOMAIN, "ed25519:1", KEY.public_key)

    with pytest.raises(InvalidSignature):
        verify_json(signed, DOMAIN, "ed25519:1", flip_a_bit(KEY.public_key, data))

    try:
        other = canonical_json.loads(flip_a_bit(canonical_json.encode(value), data))
    except NotJson:
        return
    covers_all = isinstance(other, dict) and not {"signatures", "unsigned"} & set(other)
    if covers_all and other != value:
        with pytest.raises(InvalidSignature):
            verify_json({**other, "signatures": signed["signatures"]}, DOMAIN, "ed25519:1", KEY.public_key)


def flip_a_bit(data: bytes, draw: st.DataObject) -> bytes:
    position = draw.draw(st.integers(0, len(data) * 8 - 1))
    flipped = bytearray(data)
    flipped[position // 8] ^= 1 << position % 8
    return bytes(flipped)


SIGNED: dict[str, Any] = sign_json({"a": 1}, DOMAIN, KEY)
GOOD = SIGNED["signatures"][DOMAIN]["ed25519:1"]


@pytest.mark.parametrize(
    "by",
    [
        None,
        [],
        {},
        {DOMAIN: None},
        {DOMAIN: {}},
        {DOMAIN: {"ed25519:2": GOOD}},
        {DOMAIN: {"rsa:1": GOOD}},
        {"other": {"ed25519:1": GOOD}},
        {DOMAIN: {"ed25519:1": None}},
        {DOMAIN: {"ed25519:1": ["x"]}},
        {DOMAIN: {"ed25519:1": "é"}},
        {DOMAIN: {"ed25519:1": GOOD[:-2]}},
        {DOMAIN: {"ed25519:1": ""}},
    ],
)
def test_missing_and_malformed_signatures_are_refused(by: object) -> None:
    verify_json({"a": 1, "signatures": {DOMAIN: {"ed25519:1": GOOD}}}, DOMAIN, "ed25519:1", KEY.public_key)
    with pytest.raises(InvalidSignature):
        verify_json({"a": 1, "signatures": by}, DOMAIN, "ed25519:1", KEY.public_key)


def test_a_public_key_of_the_wrong_length_verifies_nothing() -> None:
    with pytest.raises(InvalidSignature):
        verify_json(SIGNED, DOMAIN, "ed25519:1", b"short")


@pytest.mark.parametrize("value", [{"a": 1.5}, {"a": 2**53}, {"a": "\ud800"}])
def test_what_has_no_canonical_json_is_neither_signed_nor_verified(value: dict[str, Any]) -> None:
    with pytest.raises(BadJson):
        sign_json(value, DOMAIN, KEY)
    with pytest.raises(InvalidSignature):
        verify_json({**value, "signatures": signatures(GOOD)}, DOMAIN, "ed25519:1", KEY.public_key)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.id}")
def test_a_second_server_signs_without_changing_the_event(version: RoomVersion) -> None:
    event = SmallRoom(version).make("m.room.message", {"body": "hello"})
    both = sign_event(event.pdu, ServerName(OTHER_SERVER), KEYS[OTHER_SERVER], version)
    assert {**both, "signatures": event.pdu["signatures"]} == event.pdu
    for server in (ServerName(SERVER), ServerName(OTHER_SERVER)):
        key = KEYS[server]
        for pdu in (both, {**both, "content": {"body": "redactable"}}, {**both, "unsigned": {"age": 1}}):
            verify_event(pdu, server, key.key_id, key.public_key, version)
        for changed in ({"depth": 99}, {"sender": "@eve:example.org"}, {"hashes": {"sha256": MINIMAL_HASH}}):
            with pytest.raises(InvalidSignature):
                verify_event({**both, **changed}, server, key.key_id, key.public_key, version)
