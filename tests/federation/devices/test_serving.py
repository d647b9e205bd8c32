"""The devices and keys of our users that other servers can query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.federation.devices import serving
from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import Limit
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.settings import settings
from murmuration.storage.auth import user_tokens
from tests.federation.devices.elsewhere import Elsewhere
from tests.in_process import Client
from tests.keys.crypto import CrossSigning, KeyPair, device_keys, one_time_keys
from tests.logged_in import log_in
from tests.rooms.other_servers import Mirror
from tests.rooms.people import leave

UPLOAD = "/_matrix/client/v3/keys/upload"
QUERY, CLAIM = "/_matrix/federation/v1/user/keys/query", "/_matrix/federation/v1/user/keys/claim"


def publish(client: Client, **more: Any) -> dict[str, Any]:
    keys = device_keys(client.user_id, client.device_id, KeyPair(client.device_id))
    assert client.post(UPLOAD, {"device_keys": keys, **more}).status == 200
    return keys


def test_all_devices_with_keys_for_who_shares_a_room(
    alice: Client, elsewhere: Elsewhere, room: Mirror
) -> None:
    keys = publish(alice)
    laptop = log_in(UserId(alice.user_id), DeviceId("LAPTOP"), display_name="Alice's laptop")
    laptop_keys = publish(laptop)
    log_in(UserId(alice.user_id), DeviceId("WITHOUT-KEYS"))
    cross_signing = CrossSigning(alice.user_id)
    alice.post("/_matrix/client/v3/keys/device_signing/upload", cross_signing.body())
    answer = elsewhere.get("user", "devices", alice.user_id)
    assert answer.status == 200
    assert answer.json == {
        "user_id": alice.user_id,
        "stream_id": 2,
        "devices": [
            {"device_id": "ALICE", "keys": keys},
            {"device_id": "LAPTOP", "keys": laptop_keys, "device_display_name": "Alice's laptop"},
        ],
        "master_key": cross_signing.key("master"),
        "self_signing_key": cross_signing.key("self_signing"),
    }


def test_who_shares_no_room_learns_no_devices(
    alice: Client, elsewhere: Elsewhere, room: Mirror, make_elsewhere: Callable[[], Elsewhere]
) -> None:
    publish(alice)
    answer = make_elsewhere().get("user", "devices", alice.user_id)
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    leave(alice, room.room_id)
    assert elsewhere.get("user", "devices", alice.user_id).status == 403


@pytest.mark.parametrize(
    ("user_id", "status", "errcode"),
    [
        ("@bob:elsewhere.example.org", 404, "M_NOT_FOUND"),
        ("bob", 400, "M_INVALID_PARAM"),
        ("@nobody:example.org", 403, "M_FORBIDDEN"),
    ],
)
def test_users_of_others_and_nobody(elsewhere: Elsewhere, user_id: str, status: int, errcode: str) -> None:
    answer = elsewhere.get("user", "devices", user_id)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)


def test_keys_without_what_is_private(alice: Client, elsewhere: Elsewhere) -> None:
    keys = publish(alice)
    cross_signing = CrossSigning(alice.user_id)
    alice.post("/_matrix/client/v3/keys/device_signing/upload", cross_signing.body())
    wanted: dict[str, list[str]] = {alice.user_id: [], "@nobody:example.org": [], "@bob:remote.example": []}
    answer = elsewhere.call("POST", QUERY, {"device_keys": wanted})
    assert answer.status == 200
    assert answer.json == {
        "device_keys": {alice.user_id: {"ALICE": {**keys, "unsigned": {}}}},
        "master_keys": {alice.user_id: cross_signing.key("master")},
        "self_signing_keys": {alice.user_id: cross_signing.key("self_signing")},
    }


def test_each_key_is_claimed_once_then_the_fallback(alice: Client, elsewhere: Elsewhere) -> None:
    pair = KeyPair("ALICE")
    one_time = one_time_keys(alice.user_id, pair, ["A"])
    fallback = one_time_keys(alice.user_id, pair, ["F"], fallback=True)
    publish(alice, one_time_keys=one_time, fallback_keys=fallback)
    wanted = {
        alice.user_id: {"ALICE": "signed_curve25519"},
        "@bob:remote.example": {"B": "signed_curve25519"},
    }

    def claim() -> Any:
        return elsewhere.call("POST", CLAIM, {"one_time_keys": wanted}).json["one_time_keys"]

    assert claim() == {alice.user_id: {"ALICE": one_time}}
    assert claim() == claim() == {alice.user_id: {"ALICE": fallback}}
    alice.post(UPLOAD, {"one_time_keys": one_time})
    assert claim() == {alice.user_id: {"ALICE": fallback}}, "a claimed key never comes back"


def test_claims_end_where_an_answer_is_full_and_use_up_nothing_more(
    make_client: Callable[..., Client], elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sizes are smaller ones: an answer has room for two devices of the three."""
    monkeypatch.setattr(serving, "CLAIMED_AT_ONCE", 1)
    monkeypatch.setattr(serving, "LIST_BYTES", serving.MOST_CLAIM_BYTES + 4_000)
    clients = [make_client(f"claimed{number}") for number in range(3)]
    for client in clients:
        body = {"one_time_keys": {"signed_curve25519:A": {"key": "x" * 3_500, "signatures": {}}}}
        assert client.post(UPLOAD, body).status == 200
    users = sorted(client.user_id for client in clients)
    wanted = {client.user_id: {client.device_id: "signed_curve25519"} for client in clients}

    def claim() -> list[str]:
        return sorted(elsewhere.call("POST", CLAIM, {"one_time_keys": wanted}).json["one_time_keys"])

    assert claim() + claim() == users


@pytest.mark.parametrize(("path", "name"), [(QUERY, "device_keys"), (CLAIM, "one_time_keys")])
def test_questions_are_limited(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, path: str, name: str
) -> None:
    monkeypatch.setattr(rate_limits, "LIMITS", {**rate_limits.LIMITS, "federation_keys": Limit(0.001, 2)})
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    many = {f"@u{number}:example.org": {"D": "a"} if name == "one_time_keys" else [] for number in range(3)}
    assert [elsewhere.call("POST", path, {name: many}).status for _ in range(2)] == [200, 429]
    assert elsewhere.call("POST", path, {name: {}}).status == 200
    too_many = {
        f"@u{number}:example.org": value for number in range(2001) for value in [next(iter(many.values()))]
    }
    assert elsewhere.call("POST", path, {name: too_many}).status == 400
    assert elsewhere.call("POST", path, {}).json["errcode"] == "M_MISSING_PARAM"


def test_whose_an_openid_token_is(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/_matrix/federation/v1/openid/userinfo"
    token = alice.post(f"/_matrix/client/v3/user/{alice.user_id}/openid/request_token", {}).json[
        "access_token"
    ]
    stranger = Client()
    assert stranger.get(path, access_token=token).json == {"sub": alice.user_id}
    answer = stranger.get(path, access_token="nonsense")
    assert (answer.status, answer.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    assert stranger.get(path).status == 401
    monkeypatch.setattr(user_tokens, "now_ms", lambda: 2**50)
    assert stranger.get(path, access_token=token).status == 401
