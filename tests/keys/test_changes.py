"""/keys/changes lists users whose keys changed, or whose shared encrypted rooms changed, since a sync."""

from __future__ import annotations

import pytest

from murmuration.protocol.identifiers import DeviceId
from murmuration.storage.live import streams
from tests.in_process import segment
from tests.keys.crypto import KeyPair, device_keys
from tests.logged_in import log_in

CHANGES = "/_matrix/client/v3/keys/changes"
SYNC = "/_matrix/client/v3/sync"


@pytest.fixture
def alice(fresh_user_id):
    return log_in(fresh_user_id("alice"), DeviceId("ALICE"))


@pytest.fixture
def bob(fresh_user_id):
    return log_in(fresh_user_id("bob"), DeviceId("BOB"))


def encrypted_room(creator):
    encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    body = {"preset": "public_chat", "initial_state": [encryption]}
    return creator.post("/_matrix/client/v3/createRoom", body).json["room_id"]


def move(client, action, room_id):
    assert client.post(f"/_matrix/client/v3/rooms/{segment(room_id)}/{action}").status == 200


def publish(client):
    keys = device_keys(client.user_id, client.device_id, KeyPair(client.device_id))
    assert client.post("/_matrix/client/v3/keys/upload", {"device_keys": keys}).status == 200


def synced(client, since=None):
    return client.get(SYNC, since=since).json["next_batch"]


def changes(client, since):
    answer = client.get(f"{CHANGES}?from={since}&to={since}")
    assert answer.status == 200, answer.json
    return set(answer.json["changed"]), set(answer.json["left"])


@pytest.fixture
def room(alice, bob):
    room_id = encrypted_room(alice)
    move(bob, "join", room_id)
    return room_id


def test_where_nothing_changed_nobody_is_named(alice, room):
    assert changes(alice, synced(alice)) == (set(), set())


def test_new_keys_of_those_who_share_a_room(alice, bob, room, fresh_user_id):
    since = synced(alice)
    publish(bob)
    publish(log_in(fresh_user_id("stranger")))
    assert changes(alice, since) == ({bob.user_id}, set())
    assert changes(alice, since) == ({bob.user_id}, set()), "asking leaves no trace"
    assert changes(alice, synced(alice, since)) == (set(), set())


def test_own_keys_from_another_device(alice):
    since = synced(alice)
    publish(log_in(alice.user_id, DeviceId("ALICE2")))
    assert changes(alice, since) == ({alice.user_id}, set())


def test_who_came_and_who_went(alice, bob, room, fresh_user_id):
    since = synced(alice)
    carol = log_in(fresh_user_id("carol"))
    move(carol, "join", room)
    move(bob, "leave", room)
    assert changes(alice, since) == ({carol.user_id}, {bob.user_id})


def test_who_went_from_one_room_and_stays_in_another(alice, bob, room):
    other = encrypted_room(alice)
    move(bob, "join", other)
    since = synced(alice)
    move(bob, "leave", room)
    assert changes(alice, since) == (set(), set())


def test_rooms_joined_and_left_oneself(alice, bob, fresh_user_id):
    room = encrypted_room(bob)
    before = synced(alice)
    move(alice, "join", room)
    assert changes(alice, before) == ({bob.user_id}, set())
    joined = synced(alice, before)
    move(alice, "leave", room)
    assert changes(alice, joined) == (set(), {bob.user_id})


def test_messages_stay_unacknowledged(alice, bob, room):
    path = "/_matrix/client/v3/sendToDevice/m.test/txn"
    bob.put(path, {"messages": {alice.user_id: {"ALICE": {"n": 1}}}})
    since = synced(alice)
    changes(alice, since)
    (item,) = streams.read_after(streams.device_stream(alice.user_id, DeviceId("ALICE")), 0)
    assert "event" in item


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ("", "M_MISSING_PARAM"),
        ("from={token}", "M_MISSING_PARAM"),
        ("to={token}", "M_MISSING_PARAM"),
        ("from=nonsense&to={token}", "M_INVALID_PARAM"),
        ("from={token}&to=nonsense", "M_INVALID_PARAM"),
        ("from=s_never-given-out&to={token}", "M_INVALID_PARAM"),
    ],
)
def test_bad_tokens_are_refused(alice, query, errcode):
    answer = alice.get(f"{CHANGES}?{query.format(token=synced(alice))}")
    assert (answer.status, answer.json["errcode"]) == (400, errcode)


def test_strangers_learn_nothing(alice):
    token = synced(alice)
    alice.token = None
    answer = alice.get(f"{CHANGES}?from={token}&to={token}")
    assert (answer.status, answer.json["errcode"]) == (401, "M_MISSING_TOKEN")
