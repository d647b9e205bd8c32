"""Each one-time key is handed out once, also with concurrent and repeated requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration.protocol.identifiers import DeviceId
from murmuration.storage.keys import one_time_keys as storage
from murmuration.storage.keys.one_time_keys import KeyCounts
from murmuration.storage.live import streams
from murmuration.storage.users import accounts
from tests.in_process import Client
from tests.keys.crypto import KeyPair, one_time_keys
from tests.logged_in import log_in

UPLOAD = "/_matrix/client/v3/keys/upload"
CLAIM = "/_matrix/client/v3/keys/claim"
ALGORITHM = "signed_curve25519"
PAIR = KeyPair("BOB")


@pytest.fixture
def alice(fresh_user_id):
    return log_in(fresh_user_id("alice"), DeviceId("ALICE"))


@pytest.fixture
def bob(fresh_user_id):
    return log_in(fresh_user_id("bob"), DeviceId("BOB"))


def make_keys(client: Client, *names: str, fallback: bool = False):
    return one_time_keys(client.user_id, PAIR, list(names), fallback=fallback)


def upload(client, *names, fallback=()):
    body = {
        "one_time_keys": make_keys(client, *names),
        "fallback_keys": make_keys(client, *fallback, fallback=True),
    }
    return client.post(UPLOAD, body)


def claim(claimer, owner, algorithm=ALGORITHM):
    """Return the key that a claim yields, as (full ID, value), or None."""
    body = {"one_time_keys": {owner.user_id: {owner.device_id: algorithm}}}
    answer = claimer.post(CLAIM, body)
    assert answer.status == 200, answer.json
    assert answer.json["failures"] == {}
    keys = answer.json["one_time_keys"].get(owner.user_id, {}).get(owner.device_id)
    return next(iter(keys.items())) if keys else None


def counts(client):
    return storage.read_counts(client.user_id, client.device_id)


def test_keys_are_counted(bob):
    assert bob.post(UPLOAD, {}).json == {"one_time_key_counts": {ALGORITHM: 0}}
    assert upload(bob, "a", "b").json == {"one_time_key_counts": {ALGORITHM: 2}}
    bob.post(UPLOAD, {"one_time_keys": {"curve25519:x": "plain"}})
    assert bob.post(UPLOAD, {}).json == {"one_time_key_counts": {ALGORITHM: 2, "curve25519": 1}}


def test_keys_uploaded_while_the_device_is_logged_out_can_not_be_claimed(alice, bob, monkeypatch):
    """The upload comes after the device's data were deleted and before the device itself is."""
    upload(bob, "a", fallback=("f",))
    delete, late = accounts.delete_device_items, []

    def upload_first(user_id, device_ids):
        late.append(upload(bob, "late", fallback=("late-fallback",)).status)
        delete(user_id, device_ids)

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "delete_device_items", upload_first)
        assert bob.post("/_matrix/client/v3/logout").status == 200
    assert late == [200]
    assert claim(alice, bob) is None
    assert counts(bob) == KeyCounts()


def test_an_upload_that_comes_after_the_logout_stores_nothing(alice, bob, monkeypatch):
    """The request was authenticated while the device still existed."""
    read = storage._read_for_upload
    done: list[int] = []

    def log_out_first(*arguments):
        if not done:
            done.append(bob.post("/_matrix/client/v3/logout").status)
        return read(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "_read_for_upload", log_out_first)
        answer = upload(bob, "late", fallback=("late-fallback",))
    assert (answer.status, answer.json["errcode"], done) == (401, "M_UNKNOWN_TOKEN", [200])
    assert claim(alice, bob) is None
    assert counts(bob) == KeyCounts()


def test_a_claimed_key_is_gone(alice, bob):
    upload(bob, "a")
    keys = make_keys(bob, "a")
    assert claim(alice, bob) == (f"{ALGORITHM}:a", keys[f"{ALGORITHM}:a"])
    assert claim(alice, bob) is None
    assert bob.post(UPLOAD, {}).json == {"one_time_key_counts": {ALGORITHM: 0}}


def test_keys_are_handed_out_in_the_order_of_their_upload(alice, bob):
    for name in ("z", "m", "a"):
        upload(bob, name)
    assert [claim(alice, bob)[0] for _ in range(3)] == [f"{ALGORITHM}:{name}" for name in ("z", "m", "a")]


def test_algorithms_are_apart(alice, bob):
    bob.post(UPLOAD, {"one_time_keys": {"curve25519:x": "plain"}})
    assert claim(alice, bob) is None
    assert claim(alice, bob, "curve25519") == ("curve25519:x", "plain")


def test_more_keys_than_a_transaction_holds(bob):
    assert upload(bob, *(f"k{n}" for n in range(200))).json == {"one_time_key_counts": {ALGORITHM: 200}}
    assert upload(bob, *(f"k{n}" for n in range(201))).json == {"one_time_key_counts": {ALGORITHM: 201}}


# -- At the same time ------------------------------------------------------------------------------------


def test_sixteen_claimers_of_ten_keys(alice, bob):
    upload(bob, *(f"k{n}" for n in range(10)))
    with ThreadPoolExecutor(16) as pool:
        claimed = list(pool.map(lambda _: claim(alice, bob), range(16)))
    names = sorted(key[0] for key in claimed if key)
    assert names == [f"{ALGORITHM}:k{n}" for n in range(10)]
    assert claimed.count(None) == 6
    assert counts(bob).one_time == {ALGORITHM: 0}


def test_sixteen_claimers_of_ten_keys_and_a_fallback_key(alice, bob):
    upload(bob, *(f"k{n}" for n in range(10)), fallback=["f"])
    with ThreadPoolExecutor(16) as pool:
        claimed = [key for key, _ in pool.map(lambda _: claim(alice, bob), range(16))]
    assert sorted(claimed) == [f"{ALGORITHM}:f"] * 6 + [f"{ALGORITHM}:k{n}" for n in range(10)]
    assert counts(bob) == KeyCounts({ALGORITHM: 0}, [])


def test_claims_and_uploads_at_once_keep_the_count_right(alice, bob):
    upload(bob, *(f"a{n}" for n in range(6)))
    with ThreadPoolExecutor(10) as pool:
        claims = [pool.submit(claim, alice, bob) for _ in range(6)]
        uploads = [pool.submit(upload, bob, f"b{n}", f"c{n}") for n in range(4)]
        claimed = [future.result()[0] for future in claims]
        assert [future.result().status for future in uploads] == [200] * 4
    assert len(set(claimed)) == 6
    assert counts(bob).one_time == {ALGORITHM: 8}
    left = [claim(alice, bob)[0] for _ in range(8)]
    assert len({*claimed, *left}) == 14
    assert claim(alice, bob) is None


def test_an_upload_sent_eight_times_at_once_is_stored_once(alice, bob):
    with ThreadPoolExecutor(8) as pool:
        statuses = [answer.status for answer in pool.map(lambda _: upload(bob, "a", "b"), range(8))]
    assert statuses == [200] * 8
    assert counts(bob).one_time == {ALGORITHM: 2}
    assert len({claim(alice, bob)[0] for _ in range(2)}) == 2
    assert claim(alice, bob) is None


# -- Repetitions -----------------------------------------------------------------------------------------


def test_a_repeated_upload_changes_nothing(bob):
    upload(bob, "a", fallback=["f"])
    head = streams.read_head(streams.device_stream(bob.user_id, DeviceId("BOB")))
    assert upload(bob, "a", fallback=["f"]).json == {"one_time_key_counts": {ALGORITHM: 1}}
    assert streams.read_head(streams.device_stream(bob.user_id, DeviceId("BOB"))) == head


def test_a_key_uploaded_again_after_it_was_claimed_is_not_handed_out_again(alice, bob):
    upload(bob, "a")
    claim(alice, bob)
    assert upload(bob, "a", "b").json == {"one_time_key_counts": {ALGORITHM: 1}}
    assert claim(alice, bob)[0] == f"{ALGORITHM}:b"
    assert claim(alice, bob) is None


def test_the_id_of_a_claimed_key_may_be_used_for_another(alice, bob):
    bob.post(UPLOAD, {"one_time_keys": {"curve25519:x": "old"}})
    claim(alice, bob, "curve25519")
    bob.post(UPLOAD, {"one_time_keys": {"curve25519:x": "new"}})
    assert claim(alice, bob, "curve25519") == ("curve25519:x", "new")


def test_another_key_under_a_stored_id_is_refused(alice, bob):
    upload(bob, "a")
    other = {f"{ALGORITHM}:a": PAIR.sign(bob.user_id, {"key": "another"}), **make_keys(bob, "b")}
    answer = bob.post(UPLOAD, {"one_time_keys": other})
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    assert counts(bob).one_time == {ALGORITHM: 1}
    assert claim(alice, bob)[1]["key"] == "key-a"


def test_the_same_key_signed_anew_is_the_same_key(bob):
    upload(bob, "a")
    signed_anew = KeyPair("BOB").sign(bob.user_id, {"key": "key-a"})
    assert bob.post(UPLOAD, {"one_time_keys": {f"{ALGORITHM}:a": signed_anew}}).status == 200


# -- Fallback keys ---------------------------------------------------------------------------------------


def test_a_fallback_key_serves_any_number_of_claims(alice, bob):
    upload(bob, fallback=["f"])
    assert counts(bob) == KeyCounts({}, [ALGORITHM])
    for _ in range(2):
        key_id, key = claim(alice, bob)
        assert (key_id, key["fallback"]) == (f"{ALGORITHM}:f", True)
        assert counts(bob).unused_fallback == []


def test_fallback_keys_of_many_algorithms_fit_beside_one_time_keys(bob):
    names = [f"key{number}" for number in range(100)]

    def put(count: int):
        fallback = {f"org_example_{number}:f": "key" for number in range(count)}
        return bob.post(UPLOAD, {"one_time_keys": make_keys(bob, *names), "fallback_keys": fallback})

    assert put(storage.FALLBACK_LIMIT).json == {"one_time_key_counts": {ALGORITHM: 100}}
    assert len(counts(bob).unused_fallback) == storage.FALLBACK_LIMIT
    answer = put(storage.FALLBACK_LIMIT + 1)
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


def test_a_one_time_key_goes_before_the_fallback_key(alice, bob):
    upload(bob, "a", fallback=["f"])
    assert [claim(alice, bob)[0] for _ in range(2)] == [f"{ALGORITHM}:a", f"{ALGORITHM}:f"]


def test_a_new_fallback_key_replaces_the_old_and_is_unused(alice, bob):
    upload(bob, fallback=["f"])
    claim(alice, bob)
    upload(bob, fallback=["f"])
    assert counts(bob).unused_fallback == [], "the same key stays used"
    upload(bob, fallback=["g"])
    assert counts(bob).unused_fallback == [ALGORITHM]
    assert claim(alice, bob)[0] == f"{ALGORITHM}:g"


# -- What a sync is told ---------------------------------------------------------------------------------


def test_each_change_of_the_counts_moves_the_devices_stream(alice, bob):
    stream = streams.device_stream(bob.user_id, DeviceId("BOB"))
    seen = [streams.read_head(stream)]
    for change in (
        lambda: upload(bob, "a", fallback=["f"]),
        lambda: claim(alice, bob),
        lambda: claim(alice, bob),
    ):
        change()
        (item,) = streams.read_after(stream, seen[-1])
        assert item["sk"] == storage.COUNTS_KEY
        assert storage.counts_of(item) == counts(bob)
        seen.append(streams.read_head(stream))
    claim(alice, bob)
    assert streams.read_head(stream) == seen[-1], "a used fallback key can't become more used"


# -- Bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        (b"{", 400, "M_NOT_JSON"),
        ([], 400, "M_BAD_JSON"),
        ({"one_time_keys": []}, 400, "M_BAD_JSON"),
        ({"one_time_keys": [1]}, 400, "M_BAD_JSON"),
        ({"one_time_keys": {"nocolon": "k"}}, 400, "M_INVALID_PARAM"),
        ({"one_time_keys": {"a:": "k"}}, 400, "M_INVALID_PARAM"),
        ({"one_time_keys": {"a:" + "x" * 300: "k"}}, 400, "M_INVALID_PARAM"),
        ({"one_time_keys": {"a:b": 1}}, 400, "M_BAD_JSON"),
        ({"one_time_keys": {"a:b": {"key": 1}}}, 400, "M_BAD_JSON"),
        ({"one_time_keys": {"a:b": {}}}, 400, "M_BAD_JSON"),
        ({"one_time_keys": {"a:b": {"key": "k", "signatures": {"@b:c": {"d": 1}}}}}, 400, "M_BAD_JSON"),
        ({"fallback_keys": {"a:b": {"key": "k", "signatures": {}, "fallback": 1}}}, 400, "M_BAD_JSON"),
        ({"one_time_keys": {"a:b": "x" * 9000}}, 413, "M_TOO_LARGE"),
        ({"fallback_keys": "f"}, 400, "M_BAD_JSON"),
        ({"fallback_keys": {"a:b": "1", "a:c": "2"}}, 400, "M_INVALID_PARAM"),
    ],
)
def test_bad_uploads_are_refused(bob, body, status, errcode):
    answer = bob.post(UPLOAD, body)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"{", "M_NOT_JSON"),
        ({}, "M_MISSING_PARAM"),
        ({"one_time_keys": []}, "M_BAD_JSON"),
        ({"one_time_keys": {"@bob:example.org": []}}, "M_BAD_JSON"),
        ({"one_time_keys": {"@bob:example.org": {"D": 1}}}, "M_BAD_JSON"),
        ({"one_time_keys": {"bob": {"D": "a"}}}, "M_INVALID_PARAM"),
        ({"one_time_keys": {}, "timeout": "1"}, "M_BAD_JSON"),
    ],
)
def test_bad_claims_are_refused(alice, body, errcode):
    answer = alice.post(CLAIM, body)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)


def test_claims_of_what_does_not_exist_are_left_out(alice, bob):
    upload(bob, "a")
    wanted = {
        bob.user_id: {"BOB": ALGORITHM, "NONE": ALGORITHM, "x" * 2000: ALGORITHM},
        alice.user_id: {"ALICE": "x#y" * 500},
        "@nobody:example.org": {"D": ALGORITHM},
    }
    answer = alice.post(CLAIM, {"one_time_keys": wanted, "timeout": 10_000})
    assert answer.json == {
        "one_time_keys": {bob.user_id: {"BOB": make_keys(bob, "a")}},
        "failures": {},
    }


def test_other_servers_are_reported_as_failures(alice):
    answer = alice.post(CLAIM, {"one_time_keys": {"@carol:remote.example.com": {"D": ALGORITHM}}})
    assert answer.json["one_time_keys"] == {}
    assert set(answer.json["failures"]) == {"remote.example.com"}


# -- How many there may be -------------------------------------------------------------------------------


def test_a_device_has_so_many_one_time_keys(alice, bob, monkeypatch):
    monkeypatch.setattr(storage, "MOST_KEYS", 5)
    assert upload(bob, "a", "b", "c", "d").status == 200
    refused = upload(bob, "e", "f")
    assert (refused.status, refused.json["errcode"]) == (413, "M_TOO_LARGE")
    assert counts(bob).one_time == {ALGORITHM: 4}
    assert claim(alice, bob) is not None
    assert upload(bob, "e", "f").json == {"one_time_key_counts": {ALGORITHM: 5}}


def test_a_device_has_keys_of_so_many_algorithms(bob, monkeypatch):
    monkeypatch.setattr(storage, "MOST_ALGORITHMS", 2)
    for number, status in enumerate((200, 200, 413)):
        assert bob.post(UPLOAD, {"one_time_keys": {f"x{number}:k": "plain"}}).status == status
    monkeypatch.setattr(storage, "FALLBACK_LIMIT", 2)
    for number, status in enumerate((200, 200, 413)):
        assert bob.post(UPLOAD, {"fallback_keys": {f"x{number}:k": "plain"}}).status == status
    assert bob.post(UPLOAD, {"fallback_keys": {"x1:another": "plain"}}).status == 200
