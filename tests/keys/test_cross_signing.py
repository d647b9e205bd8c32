"""Cross-signing: keys that prove their owner, signatures shown to those who may see them."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration.accounts.passwords import hash_password
from murmuration.aws import dynamodb
from murmuration.protocol.identifiers import DeviceId, RoomId
from murmuration.storage.keys import device_lists
from murmuration.storage.live import streams
from tests.keys.crypto import CrossSigning, KeyPair, device_keys
from tests.logged_in import log_in
from tests.rooms.people import create_room, join

KEYS = "/_matrix/client/v3/keys/device_signing/upload"
SIGNATURES = "/_matrix/client/v3/keys/signatures/upload"
PASSWORD = "correct horse"
SIGNED = "cross#signature#"


@pytest.fixture
def alice(fresh_user_id, deployment):
    return with_password(log_in(fresh_user_id("alice"), DeviceId("ALICE")))


@pytest.fixture
def bob(fresh_user_id, deployment):
    return with_password(log_in(fresh_user_id("bob"), DeviceId("BOB")))


def with_password(client):
    dynamodb.execute(
        dynamodb.update(
            "users",
            {"user_id": client.user_id, "sk": "account"},
            "SET password_hash = :hash",
            values={":hash": hash_password(PASSWORD)},
        )
    )
    return client


def publish_device(client):
    pair = KeyPair(client.device_id)
    keys = device_keys(client.user_id, client.device_id, pair)
    assert client.post("/_matrix/client/v3/keys/upload", {"device_keys": keys}).status == 200
    return pair, keys


def publish(client):
    keys = CrossSigning(client.user_id)
    answer = client.post(KEYS, keys.body())
    assert (answer.status, answer.json) == (200, {})
    return keys


def query(client, user_id):
    found = client.post("/_matrix/client/v3/keys/query", {"device_keys": {user_id: []}}).json
    return {name: found[name].get(user_id) for name in found if name != "failures"}


def sign(client, user_id, key, signed):
    """Upload one signature, and return the failure; None if there is none."""
    answer = client.post(SIGNATURES, {user_id: {key: signed}})
    assert answer.status == 200
    return answer.json["failures"].get(user_id, {}).get(key)


def signers(signed, user_id):
    return set(signed.get("signatures", {}).get(user_id, {}))


# -- The keys --------------------------------------------------------------------------------------------


def test_the_first_keys_take_no_password(alice, bob):
    keys = publish(alice)
    own, others = query(alice, alice.user_id), query(bob, alice.user_id)
    assert own["master_keys"] == others["master_keys"] == keys.key("master")
    assert own["self_signing_keys"] == others["self_signing_keys"] == keys.key("self_signing")
    assert own["user_signing_keys"] == keys.key("user_signing")
    assert others["user_signing_keys"] is None, "the user-signing key is its owner's alone"


def test_the_same_keys_again_take_no_password(alice):
    keys = publish(alice)
    assert alice.post(KEYS, keys.body()).json == {}
    assert alice.post(KEYS, {"master_key": keys.key("master")}).json == {}


def test_new_keys_take_the_password(alice):
    old, new = publish(alice), CrossSigning(alice.user_id)
    challenge = alice.post(KEYS, new.body())
    assert (challenge.status, challenge.json["flows"]) == (401, [{"stages": ["m.login.password"]}])
    assert query(alice, alice.user_id)["master_keys"] == old.key("master")

    def attempt(password):
        identifier = {"type": "m.id.user", "user": alice.user_id}
        auth = {"type": "m.login.password", "identifier": identifier, "password": password}
        return alice.post(KEYS, {**new.body(), "auth": {**auth, "session": challenge.json["session"]}})

    assert attempt("wrong").status == 401
    assert attempt(PASSWORD).json == {}
    found = query(alice, alice.user_id)
    assert found["master_keys"] == new.key("master")
    assert found["self_signing_keys"] == new.key("self_signing")


def with_auth(client, body):
    session = client.post(KEYS, body).json["session"]
    identifier = {"type": "m.id.user", "user": client.user_id}
    auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD, "session": session}
    return client.post(KEYS, {**body, "auth": auth})


def test_a_new_self_signing_key_alone_takes_the_password(alice):
    keys = publish(alice)
    keys.self_signing = KeyPair()
    body = {"self_signing_key": keys.key("self_signing")}
    assert alice.post(KEYS, body).status == 401
    assert with_auth(alice, body).status == 200
    found = query(alice, alice.user_id)
    assert found["self_signing_keys"] == keys.key("self_signing")
    assert found["user_signing_keys"] == keys.key("user_signing")


def test_a_new_master_key_ends_what_the_old_one_signed(alice):
    publish(alice)
    new = CrossSigning(alice.user_id)
    assert with_auth(alice, {"master_key": new.key("master")}).status == 200
    found = query(alice, alice.user_id)
    assert found["master_keys"] == new.key("master")
    assert found["self_signing_keys"] is found["user_signing_keys"] is None


def test_of_two_first_uploads_at_once_one_needs_the_password(alice):
    bodies = [CrossSigning(alice.user_id).body() for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(lambda body: alice.post(KEYS, body).status, bodies))
    assert statuses == [200, 401]


def test_others_hear_of_new_keys(alice):
    stream = streams.user_stream(alice.user_id)
    publish(alice)
    assert device_lists.users_in(streams.read_after(stream, 0)) == {alice.user_id}


def test_a_new_user_signing_key_alone_is_told_to_its_owner_only(alice, bob):
    room_id = RoomId(create_room(alice, preset="public_chat"))
    join(bob, room_id)
    keys = publish(alice)
    own, shared = streams.user_stream(alice.user_id), streams.room_stream(room_id)
    before, heard = streams.read_head(own), streams.read_head(shared)
    body = {name: key for name, key in keys.body().items() if name == "user_signing_key"}
    assert alice.post(KEYS, body).status == 200
    assert device_lists.users_in(streams.read_after(own, before)) == {alice.user_id}
    assert streams.read_after(shared, heard) == []
    assert alice.post(KEYS, keys.body()).status == 200
    assert device_lists.users_in(streams.read_after(shared, heard)) == {alice.user_id}


def test_without_any_master_key_nothing_can_be_signed(alice):
    keys = CrossSigning(alice.user_id)
    answer = alice.post(KEYS, {"self_signing_key": keys.key("self_signing")})
    assert (answer.status, answer.json["errcode"]) == (400, "M_MISSING_PARAM")


def test_a_key_that_the_master_key_did_not_sign_is_refused(alice):
    keys = CrossSigning(alice.user_id)
    for forged in (
        KeyPair().sign(alice.user_id, keys.key("self_signing"), keep=False),
        {name: value for name, value in keys.key("self_signing").items() if name != "signatures"},
        {**keys.key("self_signing"), "extra": "unsigned by anyone"},
    ):
        answer = alice.post(KEYS, {**keys.body(), "self_signing_key": forged})
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_SIGNATURE")
    assert query(alice, alice.user_id)["master_keys"] is None


def test_a_key_with_the_id_of_a_device_is_refused(alice):
    keys = CrossSigning(alice.user_id)
    log_in(alice.user_id, DeviceId(keys.master.public))
    answer = alice.post(KEYS, keys.body())
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("change", "status", "errcode"),
    [
        ([], 400, "M_BAD_JSON"),
        ({"user_id": "@eve:example.org"}, 400, "M_INVALID_PARAM"),
        ({"user_id": None}, 400, "M_INVALID_PARAM"),
        ({"usage": ["self_signing"]}, 400, "M_INVALID_PARAM"),
        ({"usage": "master"}, 400, "M_BAD_JSON"),
        ({"keys": {}}, 400, "M_INVALID_PARAM"),
        ({"keys": {"ed25519:a": "a", "ed25519:b": "b"}}, 400, "M_INVALID_PARAM"),
        ({"keys": {"ed25519:short": "short"}}, 400, "M_INVALID_PARAM"),
        ({"keys": {"ed25519:" + "A" * 43: "B" * 43}}, 400, "M_INVALID_PARAM"),
        ({"keys": {"rsa:" + "A" * 43: "A" * 43}}, 400, "M_INVALID_PARAM"),
        ({"keys": {"ed25519:" + "A" * 43: 1}}, 400, "M_INVALID_PARAM"),
        ({"signatures": {"@a:b": 1}}, 400, "M_BAD_JSON"),
        ({"padding": "x" * 20_000}, 413, "M_TOO_LARGE"),
    ],
)
def test_bad_keys_are_refused(alice, change, status, errcode):
    master = CrossSigning(alice.user_id).key("master")
    answer = alice.post(KEYS, {"master_key": {**master, **change} if isinstance(change, dict) else change})
    assert (answer.status, answer.json["errcode"]) == (status, errcode)


@pytest.mark.parametrize("name", ["user_id", "usage", "keys"])
def test_incomplete_keys_are_refused(alice, name):
    master = CrossSigning(alice.user_id).key("master")
    del master[name]
    answer = alice.post(KEYS, {"master_key": master})
    assert (answer.status, answer.json["errcode"]) == (400, "M_MISSING_PARAM")


def test_no_keys_at_all_are_no_change(alice):
    assert alice.post(KEYS, {}).json == {}


# -- Signatures ------------------------------------------------------------------------------------------


def test_the_self_signing_key_signs_a_device(alice, bob):
    _, device = publish_device(alice)
    keys = publish(alice)
    signed = keys.self_signing.sign(alice.user_id, device, keep=False)
    assert sign(alice, alice.user_id, "ALICE", signed) is None
    for viewer in (alice, bob):
        found = query(viewer, alice.user_id)["device_keys"]["ALICE"]
        assert signers(found, alice.user_id) == {"ed25519:ALICE", keys.self_signing.key_id}


def test_a_device_signs_the_master_key(alice, bob):
    pair, _ = publish_device(alice)
    keys = publish(alice)
    signed = pair.sign(alice.user_id, keys.key("master"))
    assert sign(alice, alice.user_id, keys.master.public, signed) is None
    for viewer in (alice, bob):
        assert signers(query(viewer, alice.user_id)["master_keys"], alice.user_id) == {"ed25519:ALICE"}
    assert sign(alice, alice.user_id, keys.master.public, signed) is None, "again is no error"


def test_the_user_signing_key_signs_another_and_only_its_owner_sees(alice, bob):
    own, others = publish(alice), publish(bob)
    signed = own.user_signing.sign(alice.user_id, others.key("master"))
    stream = streams.user_stream(alice.user_id)
    head = streams.read_head(stream)
    assert sign(alice, bob.user_id, others.master.public, signed) is None
    assert signers(query(alice, bob.user_id)["master_keys"], alice.user_id) == {own.user_signing.key_id}
    assert signers(query(bob, bob.user_id)["master_keys"], alice.user_id) == set()
    assert device_lists.users_in(streams.read_after(stream, head)) == {bob.user_id}
    bobs = streams.read_after(streams.user_stream(bob.user_id), 0)
    assert alice.user_id not in device_lists.users_in(bobs)


def test_a_signature_ends_with_the_key_it_signs(alice):
    _, device = publish_device(alice)
    keys = publish(alice)
    sign(alice, alice.user_id, "ALICE", keys.self_signing.sign(alice.user_id, device))
    publish_device(alice)
    found = query(alice, alice.user_id)["device_keys"]["ALICE"]
    assert signers(found, alice.user_id) == {"ed25519:ALICE"}


def stored_signatures(user_id):
    condition, values = "user_id = :user AND begins_with(sk, :prefix)", {":user": user_id, ":prefix": SIGNED}
    return {item["sk"].removeprefix(SIGNED) for item in dynamodb.query("keys", condition, values)}


def test_signatures_of_what_is_gone_are_deleted_by_the_next(alice, fresh_user_id):
    """These are signatures of logged-out devices, of replaced keys, and by either."""
    pair, device = publish_device(alice)
    keys = publish(alice)
    phone = log_in(alice.user_id, "PHONE")
    with_password(alice)
    phone_pair, phone_keys = publish_device(phone)
    body = {
        "ALICE": keys.self_signing.sign(alice.user_id, device, keep=False),
        "PHONE": keys.self_signing.sign(alice.user_id, phone_keys, keep=False),
        keys.master.public: {
            **keys.key("master"),
            "signatures": {
                alice.user_id: {
                    each.key_id: each.sign(alice.user_id, keys.key("master"), keep=False)["signatures"][
                        alice.user_id
                    ][each.key_id]
                    for each in (pair, phone_pair)
                }
            },
        },
    }
    assert alice.post(SIGNATURES, {alice.user_id: body}).json["failures"] == {}
    by_keys, master = keys.self_signing.key_id, keys.master.public
    everything = {
        f"ALICE#{by_keys}",
        f"PHONE#{by_keys}",
        f"{master}#ed25519:ALICE",
        f"{master}#ed25519:PHONE",
    }
    assert stored_signatures(alice.user_id) == everything
    assert phone.post("/_matrix/client/v3/logout").status == 200
    assert sign(alice, alice.user_id, "ALICE", body["ALICE"]) is None
    assert stored_signatures(alice.user_id) == {f"ALICE#{by_keys}", f"{master}#ed25519:ALICE"}
    new = CrossSigning(alice.user_id)
    assert with_auth(alice, new.body()).status == 200
    signed = new.self_signing.sign(alice.user_id, device, keep=False)
    assert sign(alice, alice.user_id, "ALICE", signed) is None
    assert stored_signatures(alice.user_id) == {f"ALICE#{new.self_signing.key_id}"}
    found = query(alice, alice.user_id)["device_keys"]["ALICE"]
    assert signers(found, alice.user_id) == {"ed25519:ALICE", new.self_signing.key_id}


def test_signatures_of_several_kinds_in_one_request(alice, bob):
    pair, device = publish_device(alice)
    own, others = publish(alice), publish(bob)
    body = {
        alice.user_id: {
            "ALICE": own.self_signing.sign(alice.user_id, device),
            own.master.public: pair.sign(alice.user_id, own.key("master")),
            "NONE": own.self_signing.sign(alice.user_id, device),
        },
        bob.user_id: {others.master.public: own.user_signing.sign(alice.user_id, others.key("master"))},
    }
    failures = alice.post(SIGNATURES, body).json["failures"]
    assert {user: {key: each["errcode"] for key, each in of.items()} for user, of in failures.items()} == {
        alice.user_id: {"NONE": "M_NOT_FOUND"}
    }


def test_wrong_signatures_are_failures(alice, bob):
    pair, device = publish_device(alice)
    own, others = publish(alice), publish(bob)
    stranger = KeyPair("STRANGER")
    master, bobs = own.key("master"), others.key("master")
    forged = copy.deepcopy(own.self_signing.sign(alice.user_id, device, keep=False))
    forged["signatures"][alice.user_id][own.self_signing.key_id] = "A" * 86
    cases = [
        (alice.user_id, "ALICE", forged, "M_INVALID_SIGNATURE"),
        (alice.user_id, "ALICE", own.master.sign(alice.user_id, device), "M_INVALID_SIGNATURE"),
        (alice.user_id, "ALICE", {**device, "signatures": {}}, "M_INVALID_SIGNATURE"),
        (alice.user_id, "ALICE", {**device, "signatures": []}, "M_INVALID_SIGNATURE"),
        (
            alice.user_id,
            "ALICE",
            own.self_signing.sign(alice.user_id, {**device, "algorithms": []}),
            "M_INVALID_PARAM",
        ),
        (alice.user_id, own.master.public, stranger.sign(alice.user_id, master), "M_INVALID_SIGNATURE"),
        (
            alice.user_id,
            own.self_signing.public,
            pair.sign(alice.user_id, own.key("self_signing")),
            "M_NOT_FOUND",
        ),
        (
            bob.user_id,
            others.master.public,
            own.self_signing.sign(alice.user_id, bobs),
            "M_INVALID_SIGNATURE",
        ),
        (bob.user_id, "BOB", own.user_signing.sign(alice.user_id, bobs), "M_NOT_FOUND"),
        ("@nobody:example.org", "X", own.user_signing.sign(alice.user_id, bobs), "M_NOT_FOUND"),
        ("@carol:remote.example.com", "X", own.user_signing.sign(alice.user_id, bobs), "M_NOT_FOUND"),
    ]
    for user_id, key, signed, errcode in cases:
        failure = sign(alice, user_id, key, signed)
        assert failure is not None, (user_id, key)
        assert failure["errcode"] == errcode, failure
    assert signers(query(alice, alice.user_id)["master_keys"], alice.user_id) == set()


def test_signing_without_cross_signing_keys_fails(alice, bob):
    _, device = publish_device(alice)
    others, own = publish(bob), CrossSigning(alice.user_id)
    failure = sign(alice, alice.user_id, "ALICE", own.self_signing.sign(alice.user_id, device))
    assert failure["errcode"] == "M_NOT_FOUND"
    signed = own.user_signing.sign(alice.user_id, others.key("master"))
    assert sign(alice, bob.user_id, others.master.public, signed)["errcode"] == "M_NOT_FOUND"


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"{", "M_NOT_JSON"),
        ([], "M_BAD_JSON"),
        ({"@a:example.org": []}, "M_BAD_JSON"),
        ({"@a:example.org": {"K": "text"}}, "M_BAD_JSON"),
        ({"alice": {"K": {}}}, "M_INVALID_PARAM"),
    ],
)
def test_bad_requests_are_refused(alice, body, errcode):
    answer = alice.post(SIGNATURES, body)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)
