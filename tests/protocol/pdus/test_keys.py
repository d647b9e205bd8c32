from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.encoding import unpadded_base64
from murmuration.protocol.errors import BadJson
from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.protocol.pdus.keys import MAX_VALIDITY_MS, VerifyKey, build_server_keys, parse_server_keys
from murmuration.protocol.pdus.signing import InvalidSignature, SigningKey, sign_json, verify_json
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.small_rooms import VERSIONS

SERVER = ServerName("example.org")
NEW, NEWER, FORMER = (
    SigningKey(b"1" * 32, "new"),
    SigningKey(b"2" * 32, "newer"),
    SigningKey(b"3" * 32, "former"),
)
NOW = 1_700_000_000_000
DAY = 24 * 60 * 60 * 1000


def document(valid_until_ts: int = NOW + DAY) -> Any:
    former = VerifyKey(FORMER.key_id, FORMER.public_key, expired_ts=NOW - DAY)
    return build_server_keys(SERVER, [NEW, NEWER], valid_until_ts, [former])


def signed_again(changes: dict[str, Any], *keys: SigningKey) -> dict[str, Any]:
    changed = {**document(), **changes, "signatures": {}}
    for key in keys or (NEW,):
        changed = sign_json(changed, SERVER, key)
    return changed


def test_what_is_published_reads_back() -> None:
    keys = parse_server_keys(document(), SERVER, NOW)
    assert keys.server_name == SERVER
    assert keys.valid_until_ts == NOW + DAY
    assert {key_id: key.public_key for key_id, key in keys.verify_keys.items()} == {
        NEW.key_id: NEW.public_key,
        NEWER.key_id: NEWER.public_key,
    }
    assert keys.old_verify_keys[FORMER.key_id].expired_ts == NOW - DAY
    assert keys.get(NEW.key_id) is keys.verify_keys[NEW.key_id]
    assert keys.get(FORMER.key_id) is keys.old_verify_keys[FORMER.key_id]
    assert keys.get("ed25519:unknown") is None


def test_the_document_is_signed_with_each_key_in_use() -> None:
    for key in (NEW, NEWER):
        verify_json(document(), SERVER, key.key_id, key.public_key)
    assert FORMER.key_id not in document()["signatures"][SERVER]


@pytest.mark.parametrize(
    ("claimed", "trusted"),
    [
        (NOW - 1, NOW - 1),
        (NOW + 7 * DAY, NOW + 7 * DAY),
        (NOW + 7 * DAY + 1, NOW + 7 * DAY),
        (2**53 - 1, NOW + 7 * DAY),
    ],
)
def test_no_key_is_trusted_beyond_seven_days(claimed: int, trusted: int) -> None:
    assert MAX_VALIDITY_MS == 7 * DAY
    keys = parse_server_keys(document(claimed), SERVER, NOW)
    assert keys.valid_until_ts == trusted
    assert {key.valid_until_ts for key in keys.verify_keys.values()} == {trusted}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.id}")
def test_when_a_key_counts_for_an_event(version: RoomVersion) -> None:
    keys = parse_server_keys(document(), SERVER, NOW)
    in_use, former = keys.verify_keys[NEW.key_id], keys.old_verify_keys[FORMER.key_id]
    assert in_use.may_sign_event(0, version)
    assert in_use.may_sign_event(NOW + DAY, version)
    assert in_use.may_sign_event(NOW + DAY + 1, version) is (int(version.id) < 5)
    assert former.may_sign_event(NOW - DAY, version)
    assert not former.may_sign_event(NOW - DAY + 1, version)


def test_former_keys_sign_no_requests() -> None:
    keys = parse_server_keys(document(), SERVER, NOW)
    assert keys.verify_keys[NEW.key_id].may_sign_request(NOW + DAY)
    assert not keys.verify_keys[NEW.key_id].may_sign_request(NOW + DAY + 1)
    assert not keys.old_verify_keys[FORMER.key_id].may_sign_request(0)


@pytest.mark.parametrize(
    "changes",
    [
        {"server_name": "other.example"},
        {"server_name": None},
        {"verify_keys": None},
        {"verify_keys": []},
        {"verify_keys": {NEW.key_id: NEW.public_base64}},
        {"verify_keys": {NEW.key_id: {"key": None}}},
        {"verify_keys": {NEW.key_id: {"key": "é"}}},
        {"verify_keys": {NEW.key_id: {"key": NEW.public_base64[:-4]}}},
        {"old_verify_keys": []},
        {"old_verify_keys": {"ed25519:x": {"key": FORMER.public_base64}}},
        {"old_verify_keys": {"ed25519:x": {"key": FORMER.public_base64, "expired_ts": "1"}}},
        {"valid_until_ts": None},
        {"valid_until_ts": "1"},
        {"valid_until_ts": True},
        {"valid_until_ts": -1},
    ],
)
def test_malformed_documents_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadJson):
        parse_server_keys(signed_again(changes), SERVER, NOW)


@pytest.mark.parametrize("value", [None, [], "text", {}])
def test_what_is_no_document_is_refused(value: object) -> None:
    with pytest.raises(BadJson):
        parse_server_keys(value, SERVER, NOW)


def test_a_document_must_be_signed_by_a_key_it_lists() -> None:
    for unsigned in (
        {**document(), "signatures": {}},
        {**document(), "signatures": None},
        signed_again({}, FORMER),
        signed_again({}, SigningKey(b"4" * 32, "stranger")),
        {**document(), "valid_until_ts": NOW + 2 * DAY},
    ):
        with pytest.raises(InvalidSignature):
            parse_server_keys(unsigned, SERVER, NOW)


def test_one_wrong_signature_by_a_listed_key_spoils_it() -> None:
    good = document()
    impostor = SigningKey(b"5" * 32, "newer")
    spoilt = sign_json(good, SERVER, impostor)
    with pytest.raises(InvalidSignature):
        parse_server_keys(spoilt, SERVER, NOW)
    parse_server_keys(signed_again({}, NEW), SERVER, NOW)


def test_keys_of_other_algorithms_and_absent_former_keys_are_no_harm() -> None:
    entries = {NEW.key_id: {"key": NEW.public_base64}, "rsa:1": {"key": "?"}, "nonsense": 1}
    changed = signed_again({"verify_keys": entries})
    del changed["old_verify_keys"]
    changed = sign_json({**changed, "signatures": {}}, SERVER, NEW)
    keys = parse_server_keys(changed, SERVER, NOW)
    assert list(keys.verify_keys) == [NEW.key_id]
    assert not keys.old_verify_keys


def test_the_former_keys_are_published_with_their_time() -> None:
    entry = document()["old_verify_keys"][FORMER.key_id]
    assert entry == {"key": unpadded_base64.encode(FORMER.public_key), "expired_ts": NOW - DAY}


def test_a_key_without_times_counts_for_nothing_where_times_matter() -> None:
    key = VerifyKey("ed25519:x", NEW.public_key)
    assert not key.may_sign_event(1, ROOM_VERSIONS[RoomId("12")])
    assert not key.may_sign_request(0)
