"""A device publishes identity keys, other users find them, and all are told of the change."""

from __future__ import annotations

import pytest

from murmuration.aws import dynamodb
from murmuration.keys.query import query_local
from murmuration.protocol.identifiers import DeviceId, RoomId
from murmuration.storage.keys import device_lists
from murmuration.storage.live import streams
from tests.keys.crypto import KeyPair, device_keys
from tests.logged_in import log_in, put_membership

UPLOAD = "/_matrix/client/v3/keys/upload"
QUERY = "/_matrix/client/v3/keys/query"


@pytest.fixture
def alice(fresh_user_id):
    return log_in(fresh_user_id("alice"), DeviceId("ALICE"))


@pytest.fixture
def bob(fresh_user_id):
    return log_in(fresh_user_id("bob"), DeviceId("BOB"), display_name="Bob's phone")


def keys_of(client, pair=None):
    return device_keys(client.user_id, client.device_id, pair or KeyPair(client.device_id))


def publish(client, pair=None):
    keys = keys_of(client, pair)
    assert client.post(UPLOAD, {"device_keys": keys}).status == 200
    return keys


def query(client, **wanted):
    answer = client.post(QUERY, {"device_keys": wanted.pop("of"), **wanted})
    assert answer.status == 200
    return answer.json


def changed(*names):
    """Return the users whose devices changed, by each of the streams."""
    return [device_lists.users_in(streams.read_after(name, 0)) for name in names]


def test_published_keys_are_found(alice, bob):
    keys = publish(bob)
    found = query(alice, of={bob.user_id: []})
    unsigned = {"device_display_name": "Bob's phone"}
    assert found == {
        "device_keys": {bob.user_id: {"BOB": {**keys, "unsigned": unsigned}}},
        "failures": {},
        "master_keys": {},
        "self_signing_keys": {},
        "user_signing_keys": {},
    }


def test_devices_can_be_named(alice, bob):
    bob2 = log_in(bob.user_id, DeviceId("BOB2"))
    publish(bob)
    keys = publish(bob2)
    found = query(alice, of={bob.user_id: ["BOB2", "NONE"]}, timeout=1000)
    assert found["device_keys"] == {bob.user_id: {"BOB2": {**keys, "unsigned": {}}}}
    assert set(query(alice, of={bob.user_id: []})["device_keys"][bob.user_id]) == {"BOB", "BOB2"}


def test_what_the_client_calls_unsigned_is_not_shown(alice, bob):
    bob.post(UPLOAD, {"device_keys": {**keys_of(bob), "unsigned": {"device_display_name": "Eve"}}})
    found = query(alice, of={bob.user_id: []})
    assert found["device_keys"][bob.user_id]["BOB"]["unsigned"] == {"device_display_name": "Bob's phone"}


def test_unknown_users_are_left_out_and_users_without_keys_are_empty(alice, bob):
    found = query(alice, of={bob.user_id: [], "@nobody:example.org": []})
    assert found["device_keys"] == {bob.user_id: {}}


def test_other_servers_are_reported_as_failures(alice):
    found = query(alice, of={"@carol:remote.example.com": []})
    assert (found["device_keys"], set(found["failures"])) == ({}, {"remote.example.com"})


def test_keys_of_a_device_that_is_gone_are_not_shown(alice, bob):
    publish(bob)
    dynamodb.execute(dynamodb.delete("users", {"user_id": bob.user_id, "sk": "device#BOB"}))
    assert query(alice, of={bob.user_id: []})["device_keys"] == {bob.user_id: {}}


def test_many_users_at_once(alice, fresh_user_id):
    users = [log_in(fresh_user_id("many"), DeviceId("D")) for _ in range(12)]
    keys = {client.user_id: publish(client) for client in users}
    found = query(alice, of={client.user_id: [] for client in users})["device_keys"]
    assert {user_id: devices["D"]["keys"] for user_id, devices in found.items()} == {
        user_id: each["keys"] for user_id, each in keys.items()
    }


def test_no_keys_of_deactivated_users(alice, bob):
    publish(bob)
    dynamodb.execute(
        dynamodb.update(
            "users",
            {"user_id": bob.user_id, "sk": "account"},
            "SET deactivated_ms = :ms",
            values={":ms": 1},
        )
    )
    assert query_local({bob.user_id: []}, requester_id=None).device_keys == {}


# -- Device lists ----------------------------------------------------------------------------------------


def test_a_change_is_told_in_joined_rooms_and_to_the_user(bob):
    rooms = [RoomId(f"!{number}-{bob.user_id[1:]}") for number in range(4)]
    for room_id, membership in zip(rooms, ("join", "join", "leave", "invite"), strict=True):
        put_membership(bob.user_id, room_id, membership)
    publish(bob)
    names = [streams.room_stream(room_id) for room_id in rooms]
    assert changed(streams.user_stream(bob.user_id), *names) == [
        {bob.user_id},
        {bob.user_id},
        {bob.user_id},
        set(),
        set(),
    ]


def test_publishing_the_same_again_tells_nobody(bob):
    keys = publish(bob)
    stream = streams.user_stream(bob.user_id)
    head = streams.read_head(stream)
    bob.post(UPLOAD, {"device_keys": keys})
    assert streams.read_head(stream) == head
    publish(bob)
    assert streams.read_head(stream) == head + 1


def test_an_upload_that_stopped_before_it_told_anyone_is_told_of_by_the_next(bob, monkeypatch):
    from murmuration.keys import upload

    def stop(user_id):
        raise TimeoutError

    keys = keys_of(bob)
    with monkeypatch.context() as patch:
        patch.setattr(upload, "record_change", stop)
        assert bob.post(UPLOAD, {"device_keys": keys}).status == 500
    stream = streams.user_stream(bob.user_id)
    assert changed(stream) == [set()]
    bob.post(UPLOAD, {"device_keys": keys})
    assert changed(stream) == [{bob.user_id}]


def test_one_time_keys_alone_tell_nobody(bob):
    bob.post(UPLOAD, {"one_time_keys": {"a:b": "key"}})
    assert changed(streams.user_stream(bob.user_id)) == [set()]


# -- Bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status", "errcode"),
    [
        ({"user_id": "@eve:example.org"}, 400, "M_INVALID_PARAM"),
        ({"device_id": "EVE"}, 400, "M_INVALID_PARAM"),
        ({"algorithms": "m.olm"}, 400, "M_BAD_JSON"),
        ({"keys": []}, 400, "M_BAD_JSON"),
        ({"keys": {"ed25519:BOB": 1}}, 400, "M_BAD_JSON"),
        ({"signatures": []}, 400, "M_BAD_JSON"),
        ({"signatures": {"@bob:example.org": "s"}}, 400, "M_BAD_JSON"),
        ({"signatures": {"@bob:example.org": {"ed25519:BOB": 1}}}, 400, "M_BAD_JSON"),
        ({"signatures": []}, 400, "M_BAD_JSON"),
        ({"padding": "x" * 70_000}, 413, "M_TOO_LARGE"),
    ],
)
def test_bad_device_keys_are_refused(alice, bob, change, status, errcode):
    answer = bob.post(UPLOAD, {"device_keys": {**keys_of(bob), **change}})
    assert (answer.status, answer.json["errcode"]) == (status, errcode)
    assert query(alice, of={bob.user_id: []})["device_keys"] == {bob.user_id: {}}


def test_keys_that_nobody_signed_say_so(alice, bob):
    """Some clients fail on an answer with keys that lack their signatures."""
    unsigned = {key: value for key, value in keys_of(bob).items() if key != "signatures"}
    assert bob.post(UPLOAD, {"device_keys": unsigned}).status == 200
    shown = query(alice, of={bob.user_id: []})["device_keys"][bob.user_id]["BOB"]
    assert shown["signatures"] == {}
    assert bob.post(UPLOAD, {"one_time_keys": {"a:b": {"key": "k"}}}).status == 200
    claimed = alice.post("/_matrix/client/v3/keys/claim", {"one_time_keys": {bob.user_id: {"BOB": "a"}}})
    assert claimed.json["one_time_keys"] == {bob.user_id: {"BOB": {"a:b": {"key": "k", "signatures": {}}}}}


@pytest.mark.parametrize("name", ["user_id", "device_id", "algorithms", "keys"])
def test_incomplete_device_keys_are_refused(bob, name):
    keys = {key: value for key, value in keys_of(bob).items() if key != name}
    answer = bob.post(UPLOAD, {"device_keys": keys})
    assert (answer.status, answer.json["errcode"]) == (400, "M_MISSING_PARAM")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"{", "M_NOT_JSON"),
        ([], "M_BAD_JSON"),
        ({}, "M_MISSING_PARAM"),
        ({"device_keys": []}, "M_BAD_JSON"),
        ({"device_keys": {"@bob:example.org": {}}}, "M_BAD_JSON"),
        ({"device_keys": {"@bob:example.org": [1]}}, "M_BAD_JSON"),
        ({"device_keys": {"bob": []}}, "M_INVALID_PARAM"),
        ({"device_keys": {}, "timeout": "soon"}, "M_BAD_JSON"),
    ],
)
def test_bad_queries_are_refused(alice, body, errcode):
    answer = alice.post(QUERY, body)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)
