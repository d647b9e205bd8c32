"""Backups of room keys keep the better key. Counts and etags are correct with concurrent requests."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.aws import dynamodb
from murmuration.keys import backups
from murmuration.storage.keys import key_backups as storage
from tests.in_process import segment
from tests.logged_in import log_in

BASE = "/_matrix/client/v3/room_keys"
ROOM = "!room:example.org"
OTHER = "!other:example.org"
ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
AUTH_DATA = {"public_key": "abcdefg", "signatures": {"@alice:example.org": {"ed25519:D": "signature"}}}


@pytest.fixture
def alice(fresh_user_id):
    return log_in(fresh_user_id("alice"))


@pytest.fixture
def backup(alice):
    """Create Alice's backup, and return its version."""
    return create(alice)


def create(client):
    answer = client.post(f"{BASE}/version", {"algorithm": ALGORITHM, "auth_data": AUTH_DATA})
    assert answer.status == 200
    return answer.json["version"]


def key(index=0, *, forwarded=0, verified=True, data="c"):
    return {
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": data, "ephemeral": "e", "mac": "m"},
    }


def path(room_id=None, session_id=None):
    return "/".join([f"{BASE}/keys", *(segment(part) for part in (room_id, session_id) if part is not None)])


def put(client, version, keys):
    rooms: dict = {}
    for (room_id, session_id), value in keys.items():
        rooms.setdefault(room_id, {"sessions": {}})["sessions"][session_id] = value
    return client.put(path(), {"rooms": rooms}, version=version)


def info(client, version):
    return client.get(f"{BASE}/version/{version}").json


# -- Versions --------------------------------------------------------------------------------------------


def test_a_backup_describes_itself(alice, backup):
    described = {
        "algorithm": ALGORITHM,
        "auth_data": AUTH_DATA,
        "count": 0,
        "etag": "0",
        "version": backup,
    }
    assert info(alice, backup) == alice.get(f"{BASE}/version").json == described


def test_the_latest_is_the_current_one(alice, backup):
    second = create(alice)
    assert second != backup
    assert alice.get(f"{BASE}/version").json["version"] == second
    alice.delete(f"{BASE}/version/{second}")
    assert alice.get(f"{BASE}/version").json["version"] == backup


def test_versions_created_at_once_are_all_different(alice):
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(lambda _: create(alice), range(6)))) == 6


def test_without_a_backup_there_is_none(alice):
    answer = alice.get(f"{BASE}/version")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


def test_only_auth_data_can_be_changed(alice, backup):
    new = {"public_key": "other"}
    body = {"algorithm": ALGORITHM, "auth_data": new}
    assert alice.put(f"{BASE}/version/{backup}", body).json == {}
    assert alice.put(f"{BASE}/version/{backup}", {**body, "version": backup}).json == {}
    assert info(alice, backup)["auth_data"] == new
    for change in ({"algorithm": "other"}, {"version": "99"}):
        answer = alice.put(f"{BASE}/version/{backup}", {**body, **change})
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


def test_a_deleted_backup_is_gone_with_its_keys(alice, backup):
    put(alice, backup, {(ROOM, "s"): key()})
    for _ in range(2):
        assert alice.delete(f"{BASE}/version/{backup}").json == {}
    body = {"algorithm": ALGORITHM, "auth_data": {}}
    for answer in (
        alice.get(f"{BASE}/version"),
        alice.get(f"{BASE}/version/{backup}"),
        alice.put(f"{BASE}/version/{backup}", body),
        alice.get(path(), version=backup),
        alice.delete(path(), version=backup),
        put(alice, backup, {(ROOM, "s"): key()}),
    ):
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    left = dynamodb.query(
        "keys", "user_id = :u AND begins_with(sk, :p)", {":u": alice.user_id, ":p": "backup#key#"}
    )
    assert left == []


@pytest.mark.parametrize("version", ["99", "0", "01", "-1", "x", "9" * 30, "²"])
def test_unknown_versions_are_not_found(alice, backup, version):
    body = {"algorithm": ALGORITHM, "auth_data": {}}
    named = f"{BASE}/version/{segment(version)}"
    for answer in (
        alice.get(named),
        alice.put(named, body),
        alice.delete(named),
        alice.get(path(), version=version),
        alice.get(path(ROOM), version=version),
        alice.get(path(ROOM, "s"), version=version),
        alice.delete(path(ROOM, "s"), version=version),
    ):
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        (b"{", 400, "M_NOT_JSON"),
        ([], 400, "M_BAD_JSON"),
        ({"auth_data": {}}, 400, "M_MISSING_PARAM"),
        ({"algorithm": ALGORITHM}, 400, "M_MISSING_PARAM"),
        ({"algorithm": 1, "auth_data": {}}, 400, "M_BAD_JSON"),
        ({"algorithm": ALGORITHM, "auth_data": "x"}, 400, "M_BAD_JSON"),
        ({"algorithm": ALGORITHM, "auth_data": {"x": "x" * 70_000}}, 413, "M_TOO_LARGE"),
    ],
)
def test_bad_versions_are_refused(alice, backup, body, status, errcode):
    for answer in (alice.post(f"{BASE}/version", body), alice.put(f"{BASE}/version/{backup}", body)):
        assert (answer.status, answer.json["errcode"]) == (status, errcode)


# -- Keys ------------------------------------------------------------------------------------------------


def test_keys_are_stored_and_read_one_by_one_by_room_and_all(alice, backup):
    one, two, three = key(1), key(2), {**key(3), "org.example.extra": 1.5}
    assert alice.put(path(ROOM, "s1"), one, version=backup).json == {"count": 1, "etag": "1"}
    body = {"sessions": {"s/2": two}}
    assert alice.put(path(ROOM), body, version=backup).json == {"count": 2, "etag": "2"}
    assert put(alice, backup, {(OTHER, "s1"): three}).json == {"count": 3, "etag": "3"}
    assert alice.get(path(ROOM, "s1"), version=backup).json == one
    assert alice.get(path(ROOM, "s/2"), version=backup).json == two
    of_room = {"sessions": {"s1": one, "s/2": two}}
    assert alice.get(path(ROOM), version=backup).json == of_room
    assert alice.get(path(), version=backup).json == {
        "rooms": {ROOM: of_room, OTHER: {"sessions": {"s1": three}}}
    }
    assert (info(alice, backup)["count"], info(alice, backup)["etag"]) == (3, "3")


def test_where_there_are_no_keys(alice, backup):
    assert alice.get(path(), version=backup).json == {"rooms": {}}
    assert alice.get(path(ROOM), version=backup).json == {"sessions": {}}
    answer = alice.get(path(ROOM, "none"), version=backup)
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


def test_keys_are_deleted_one_by_one_by_room_and_all(alice, backup):
    sessions = [(ROOM, "s1"), (ROOM, "s2"), (ROOM, "s3"), (OTHER, "s1"), (ROOM + "#", "s1")]
    put(alice, backup, {session: key() for session in sessions})
    assert alice.delete(path(ROOM, "s1"), version=backup).json == {"count": 4, "etag": "2"}
    assert alice.delete(path(ROOM, "s1"), version=backup).json == {"count": 4, "etag": "2"}
    assert alice.delete(path(ROOM), version=backup).json == {"count": 2, "etag": "3"}
    assert set(alice.get(path(), version=backup).json["rooms"]) == {OTHER, ROOM + "#"}
    assert alice.delete(path(), version=backup).json == {"count": 0, "etag": "4"}
    assert alice.get(path(), version=backup).json == {"rooms": {}}


BETTER = [
    (key(5, forwarded=5, verified=False), key(9, forwarded=9, verified=True)),
    (key(5), key(4, forwarded=9)),
    (key(5, forwarded=2), key(5, forwarded=1)),
]


@pytest.mark.parametrize(("worse", "better"), BETTER)
def test_the_better_key_is_kept(alice, backup, worse, better):
    session = path(ROOM, "s")
    alice.put(session, worse, version=backup)
    assert alice.put(session, better, version=backup).json == {"count": 1, "etag": "2"}
    assert alice.put(session, worse, version=backup).json == {"count": 1, "etag": "2"}
    equal = {**better, "session_data": {"ciphertext": "other"}}
    assert alice.put(session, equal, version=backup).json == {"count": 1, "etag": "2"}
    assert alice.get(session, version=backup).json == better


keys_of_any_kind = st.builds(
    lambda index, forwarded, verified: key(index, forwarded=forwarded, verified=verified),
    st.integers(0, 3),
    st.integers(0, 3),
    st.booleans(),
)


@given(st.lists(keys_of_any_kind, min_size=1, max_size=6))
def test_the_key_that_is_kept_does_not_depend_on_the_order(keys):
    kept = set()
    for order in itertools.islice(itertools.permutations(keys), 24):
        stored = order[0]
        for new in order[1:]:
            stored = new if backups.is_better(new, stored) else stored
        kept.add(tuple(stored[name] for name in ("is_verified", "first_message_index", "forwarded_count")))
    assert len(kept) == 1


def test_more_keys_than_a_transaction_holds(alice, backup):
    keys = {(ROOM, f"s{n}"): key(n) for n in range(200)}
    assert put(alice, backup, keys).json == {"count": 200, "etag": "3"}
    assert put(alice, backup, keys).json == {"count": 200, "etag": "3"}
    assert len(alice.get(path(ROOM), version=backup).json["sessions"]) == 200
    assert alice.delete(path(ROOM), version=backup).json == {"count": 0, "etag": "6"}


def test_large_keys_are_split_over_transactions(alice, backup):
    keys = {(ROOM, f"s{n}"): key(data="x" * 60_000) for n in range(70)}
    assert put(alice, backup, keys).json == {"count": 70, "etag": "2"}


def test_keys_stored_and_deleted_at_once_are_counted_right(alice, backup):
    put(alice, backup, {(OTHER, f"s{n}"): key() for n in range(4)})
    with ThreadPoolExecutor(10) as pool:
        puts = [pool.submit(put, alice, backup, {(ROOM, f"s{n % 3}"): key(n)}) for n in range(6)]
        deletes = [pool.submit(alice.delete, path(OTHER, f"s{n}"), None, version=backup) for n in range(4)]
        assert {future.result().status for future in [*puts, *deletes]} == {200}
    sessions = alice.get(path(), version=backup).json["rooms"][ROOM]["sessions"]
    assert {name: each["first_message_index"] for name, each in sessions.items()} == {
        "s0": 0,
        "s1": 1,
        "s2": 2,
    }
    assert info(alice, backup)["count"] == 3


def test_only_the_current_backup_takes_keys(alice, backup):
    current = create(alice)
    for version in (backup, "99", "x"):
        for answer in (
            put(alice, version, {(ROOM, "s"): key()}),
            alice.put(path(ROOM), {"sessions": {}}, version=version),
            alice.put(path(ROOM, "s"), key(), version=version),
        ):
            assert answer.status == 403
            assert answer.json["errcode"] == "M_WRONG_ROOM_KEYS_VERSION"
            assert answer.json["current_version"] == current
    assert put(alice, current, {}).json == {"count": 0, "etag": "0"}


def test_backups_are_their_owners(alice, backup, fresh_user_id):
    put(alice, backup, {(ROOM, "s"): key()})
    bob = log_in(fresh_user_id("bob"))
    assert bob.get(path(), version=backup).status == 404
    create(bob)
    assert bob.get(path(), version=backup).json == {"rooms": {}}


@pytest.mark.parametrize("where", [(), (ROOM,), (ROOM, "s")])
def test_the_version_must_be_named(alice, backup, where):
    body = {"rooms": {}, "sessions": {}, **key()}
    for answer in (alice.get(path(*where)), alice.put(path(*where), body), alice.delete(path(*where))):
        assert (answer.status, answer.json["errcode"]) == (400, "M_MISSING_PARAM")


def without(name):
    return {each: value for each, value in key().items() if each != name}


BAD_KEYS = [
    ([], 400, "M_BAD_JSON"),
    ({**key(), "first_message_index": 1.5}, 400, "M_BAD_JSON"),
    ({**key(), "first_message_index": True}, 400, "M_BAD_JSON"),
    ({**key(), "forwarded_count": "1"}, 400, "M_BAD_JSON"),
    ({**key(), "is_verified": 1}, 400, "M_BAD_JSON"),
    ({**key(), "session_data": "x"}, 400, "M_BAD_JSON"),
    (key(data="x" * 70_000), 413, "M_TOO_LARGE"),
    *((without(name), 400, "M_MISSING_PARAM") for name in key()),
]


@pytest.mark.parametrize(("body", "status", "errcode"), BAD_KEYS)
def test_bad_keys_are_refused(alice, backup, body, status, errcode):
    for answer in (
        alice.put(path(ROOM, "s"), body, version=backup),
        alice.put(path(ROOM), {"sessions": {"good": key(), "s": body}}, version=backup),
        put(alice, backup, {(ROOM, "good"): key(), (ROOM, "s"): body}),
    ):
        assert (answer.status, answer.json["errcode"]) == (status, errcode)
    assert info(alice, backup)["count"] == 0


@pytest.mark.parametrize(
    ("where", "body", "errcode"),
    [
        ((), b"{", "M_NOT_JSON"),
        ((), {}, "M_MISSING_PARAM"),
        ((), {"rooms": []}, "M_BAD_JSON"),
        ((), {"rooms": {ROOM: []}}, "M_BAD_JSON"),
        ((), {"rooms": {ROOM: {}}}, "M_MISSING_PARAM"),
        ((), {"rooms": {"!" * 300: {"sessions": {"s": key()}}}}, "M_INVALID_PARAM"),
        ((), {"rooms": {ROOM: {"sessions": {"": key()}}}}, "M_INVALID_PARAM"),
        ((ROOM,), {}, "M_MISSING_PARAM"),
        ((ROOM,), {"sessions": []}, "M_BAD_JSON"),
        ((ROOM, "s" * 300), key(), "M_INVALID_PARAM"),
    ],
)
def test_bad_bodies_are_refused(alice, backup, where, body, errcode):
    answer = alice.put(path(*where), body, version=backup)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)


@pytest.mark.parametrize("where", [("!" * 300,), (ROOM, "s" * 300)])
def test_ids_that_cannot_be_are_refused(alice, backup, where):
    for answer in (alice.get(path(*where), version=backup), alice.delete(path(*where), version=backup)):
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


# -- How large one may be, and how one ends that is large ------------------------------------------------


def size_of(client, version):
    found = storage.read_version(client.user_id, int(version))
    assert found is not None
    return found.size


def test_a_backup_has_so_many_bytes(alice, backup, monkeypatch):
    assert put(alice, backup, {(ROOM, "a"): key(data="c" * 1_000)}).status == 200
    before = size_of(alice, backup)
    assert before > 1_000
    monkeypatch.setattr(storage, "MOST_BYTES", before + 100)
    refused = put(alice, backup, {(ROOM, "b"): key(data="c" * 1_000)})
    assert (refused.status, refused.json["errcode"]) == (413, "M_TOO_LARGE")
    assert alice.delete(path(ROOM, "a"), version=backup).json["count"] == 0
    assert size_of(alice, backup) == 0
    assert put(alice, backup, {(ROOM, "b"): key(data="c" * 1_000)}).status == 200


def test_a_better_key_of_another_size(alice, backup):
    put(alice, backup, {(ROOM, "a"): key(5, data="c" * 1_000)})
    before = size_of(alice, backup)
    put(alice, backup, {(ROOM, "a"): key(4, data="c" * 1_500)})
    assert size_of(alice, backup) == before + 500


def test_so_many_backups_are_there_at_a_time(alice, monkeypatch):
    monkeypatch.setattr(storage, "MOST_ALIVE", 2)
    first, _ = create(alice), create(alice)
    refused = alice.post(f"{BASE}/version", {"algorithm": ALGORITHM, "auth_data": AUTH_DATA})
    assert (refused.status, refused.json["errcode"]) == (413, "M_TOO_LARGE")
    assert alice.delete(f"{BASE}/version/{first}").status == 200
    create(alice)


def keys_left(client, version):
    return len(storage.read_keys(client.user_id, int(version)))


def test_deleting_a_large_backup_goes_on_when_it_is_repeated(alice, backup, monkeypatch):
    put(alice, backup, {(ROOM, f"s{number}"): key() for number in range(5)})
    page = dynamodb.query_page
    monkeypatch.setattr(dynamodb, "query_page", lambda *given, **more: page(*given, **more | {"limit": 2}))
    monkeypatch.setattr(storage, "DELETING_S", -1)
    left = []
    for expected in (503, 503, 200):
        answer = alice.delete(f"{BASE}/version/{backup}")
        assert answer.status == expected
        assert alice.get(path(), version=backup).status == 404, "it is gone from the first attempt on"
        left.append(keys_left(alice, backup))
    assert left == [3, 1, 0]


def test_deleting_the_keys_of_a_large_room_goes_on_when_it_is_repeated(alice, backup, monkeypatch):
    monkeypatch.setattr(storage, "CHUNK_KEYS", 2)
    put(alice, backup, {(ROOM, f"s{number}"): key() for number in range(5)})
    put(alice, backup, {(OTHER, "stays"): key()})
    monkeypatch.setattr(storage, "DELETING_S", -1)
    statuses = [alice.delete(path(ROOM), version=backup).status for _ in range(3)]
    assert statuses == [503, 503, 200]
    assert alice.get(path(), version=backup).json["rooms"].keys() == {OTHER}
    assert alice.get(f"{BASE}/version/{backup}").json["count"] == 1


def test_reading_a_chunk_of_keys_to_delete_reads_no_others(alice, backup, monkeypatch):
    monkeypatch.setattr(storage, "CHUNK_KEYS", 2)
    put(alice, backup, {(ROOM, f"s{number}"): key() for number in range(8)})
    read, page = [], dynamodb.query_page

    def count(*given, **options):
        found = page(*given, **options)
        read.append(len(found.items))
        return found

    monkeypatch.setattr(dynamodb, "query_page", count)
    assert alice.delete(path(), version=backup).json["count"] == 0
    assert sum(read) == 8
