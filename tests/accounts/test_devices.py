"""https://spec.matrix.org/v1.19/client-server-api/#device-management"""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.storage.keys import device_lists
from murmuration.storage.live import streams
from murmuration.storage.users import accounts
from tests.accounts.conftest import errcode, password_auth
from tests.in_process import Client, segment
from tests.rooms.people import create_room

DEVICES = "/_matrix/client/v3/devices"
WHOAMI = "/_matrix/client/v3/account/whoami"

pytestmark = pytest.mark.usefixtures("deployment")


def put_device_data(user_id, device_id):
    """Write the items that belong to a device: keys of each kind, a message, the counts of its keys."""
    stream = {"stream_id": f"device:{user_id}/{device_id}"}
    items = [
        ("keys", {"user_id": user_id, "sk": f"device#{device_id}", "key": "{}"}),
        ("keys", {"user_id": user_id, "sk": f"otk#{device_id}#signed_curve25519#1#AAAA"}),
        ("keys", {"user_id": user_id, "sk": f"fallback#{device_id}#signed_curve25519"}),
        ("streams", {**stream, "sk": "message#1", "seq": 1}),
        ("streams", {**stream, "sk": "otk", "seq": 2}),
    ]
    dynamodb.batch_write([dynamodb.put(table, item) for table, item in items])
    return [
        (table, {name: item[name] for name in item if name not in ("seq", "key")}) for table, item in items
    ]


def present(keys):
    return [key for table, key in keys if dynamodb.get(table, key) is not None]


@pytest.fixture
def changes(monkeypatch):
    """Return the list of users for whom a change of devices was recorded."""
    recorded = []
    original = device_lists.record_change

    def record(user_id: UserId, **options: Any):
        recorded.append(user_id)
        original(user_id, **options)

    monkeypatch.setattr(device_lists, "record_change", record)
    return recorded


# -- Reading and renaming --------------------------------------------------------------------------------


def test_listing_and_showing_devices(register, log_in):
    user = register(device_id="FIRST")
    log_in(user, device_id="SECOND", initial_device_display_name="tablet")
    devices = user.get(DEVICES).json["devices"]
    assert [device["device_id"] for device in devices] == ["FIRST", "SECOND"]
    assert "display_name" not in devices[0]
    assert devices[1]["display_name"] == "tablet"
    assert devices[1]["last_seen_ip"] == user.source_ip
    assert isinstance(devices[1]["last_seen_ts"], int)
    assert set(devices[1]) == {"device_id", "display_name", "last_seen_ip", "last_seen_ts"}
    assert user.get(f"{DEVICES}/SECOND").json == devices[1]
    assert user.get("/_matrix/client/r0/devices").json["devices"] == devices


def test_devices_of_others_are_not_there(register):
    user, other = register(), register(device_id="THEIRS")
    assert errcode(user.get(f"{DEVICES}/THEIRS")) == (404, "M_NOT_FOUND")
    assert errcode(user.put(f"{DEVICES}/THEIRS", {"display_name": "x"})) == (404, "M_NOT_FOUND")
    assert other.get(f"{DEVICES}/THEIRS").status == 200


def test_renaming(register, changes):
    user = register()
    path = f"{DEVICES}/{user.device_id}"
    assert user.put(path, {"display_name": "phone"}).json == {}
    assert user.get(path).json["display_name"] == "phone"
    assert changes == [user.user_id]
    assert user.put(path, {}).status == 200
    assert user.get(path).json["display_name"] == "phone"


def test_a_device_id_is_percent_decoded(register, log_in):
    user = register()
    log_in(user, device_id="a/b c%")
    assert user.get(f"{DEVICES}/{segment('a/b c%')}").json["device_id"] == "a/b c%"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"display_name": 3}, (400, "M_BAD_JSON")),
        ({"display_name": "x" * 101}, (400, "M_INVALID_PARAM")),
        (b"x", (400, "M_NOT_JSON")),
    ],
)
def test_malformed_renamings(register, body, expected):
    user = register()
    assert errcode(user.put(f"{DEVICES}/{user.device_id}", body)) == expected


def test_renaming_a_device_that_is_not_there(register):
    user = register()
    for body in ({"display_name": "x"}, {}):
        assert errcode(user.put(f"{DEVICES}/NONE", body)) == (404, "M_NOT_FOUND")
    assert accounts.read_device(user.user_id, DeviceId("NONE")) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", DEVICES),
        ("GET", f"{DEVICES}/X"),
        ("PUT", f"{DEVICES}/X"),
        ("DELETE", f"{DEVICES}/X"),
        ("POST", "/_matrix/client/v3/delete_devices"),
        ("POST", "/_matrix/client/v3/logout"),
        ("POST", "/_matrix/client/v3/logout/all"),
    ],
)
def test_all_of_it_needs_an_access_token(method, path):
    assert errcode(Client().request(method, path, {})) == (401, "M_MISSING_TOKEN")


# -- Deleting --------------------------------------------------------------------------------------------


def test_deleting_a_device_takes_its_tokens_keys_and_messages(register, log_in, changes):
    user = register()
    doomed, spared = log_in(user, device_id="DOOMED"), log_in(user, device_id="DOOMED2")
    gone = put_device_data(user.user_id, "DOOMED")
    kept = put_device_data(user.user_id, "DOOMED2")
    path = f"{DEVICES}/DOOMED"

    challenge = user.delete(path)
    assert challenge.status == 401
    assert challenge.json["flows"] == [{"stages": ["m.login.password"]}]
    assert present(gone) == [key for _, key in gone]

    session = challenge.json["session"]
    wrong = user.delete(path, {"auth": password_auth(user, "wrong", session)})
    assert errcode(wrong) == (401, "M_FORBIDDEN")
    assert wrong.json["session"] == session

    assert user.delete(path, {"auth": password_auth(user, session=session)}).json == {}
    assert errcode(doomed.get(WHOAMI)) == (401, "M_UNKNOWN_TOKEN")
    assert spared.get(WHOAMI).status == user.get(WHOAMI).status == 200
    assert errcode(user.get(path)) == (404, "M_NOT_FOUND")
    assert present(gone) == []
    assert present(kept) == [key for _, key in kept]
    assert changes == [user.user_id]
    # Again is no error.
    assert user.delete(path, {"auth": password_auth(user)}).json == {}


def test_positions_in_a_deleted_devices_stream_are_not_given_out_again(register, log_in):
    user = register()
    stream = streams.device_stream(user.user_id, DeviceId("D"))
    log_in(user, device_id="D")
    streams.append(stream, lambda: [{"sk": "message#1"}])
    user.delete(f"{DEVICES}/D", {"auth": password_auth(user)})
    assert streams.read_after(stream, 0) == []
    assert streams.read_head(stream) == 1


def test_deleting_several(register, log_in, changes):
    user = register()
    clients = [log_in(user, device_id=device_id) for device_id in ("A", "B", "C")]
    body = {"devices": ["A", "C", "NONE", "A"]}
    session = user.post("/_matrix/client/v3/delete_devices", body).json["session"]
    auth = password_auth(user, session=session)
    assert user.post("/_matrix/client/v3/delete_devices", {**body, "auth": auth}).json == {}
    assert [client.get(WHOAMI).status for client in clients] == [401, 200, 401]
    assert changes == [user.user_id]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"devices": "A"}, (400, "M_BAD_JSON")),
        ({"devices": [3]}, (400, "M_BAD_JSON")),
    ],
)
def test_malformed_deletions(register, body, expected):
    assert errcode(register().post("/_matrix/client/v3/delete_devices", body)) == expected


def test_a_deletion_that_stopped_halfway_can_be_repeated(register, log_in, monkeypatch):
    user = register()
    doomed = log_in(user, device_id="DOOMED")
    gone = put_device_data(user.user_id, "DOOMED")

    def stop(user_id, device_ids):
        raise TimeoutError

    body = {"auth": password_auth(user)}
    with monkeypatch.context() as patch:
        patch.setattr(accounts, "delete_device_items", stop)
        assert user.delete(f"{DEVICES}/DOOMED", body).status == 500
    assert doomed.get(WHOAMI).status == 200
    assert user.delete(f"{DEVICES}/DOOMED", body).status == 200
    assert doomed.get(WHOAMI).status == 401
    assert present(gone) == []


# -- Logging out -----------------------------------------------------------------------------------------


def test_logout_deletes_the_device(register, log_in, changes):
    user = register()
    other = log_in(user)
    gone = put_device_data(user.user_id, user.device_id)
    assert user.post("/_matrix/client/v3/logout").json == {}
    assert errcode(user.get(WHOAMI)) == (401, "M_UNKNOWN_TOKEN")
    assert [device["device_id"] for device in other.get(DEVICES).json["devices"]] == [other.device_id]
    assert present(gone) == []
    assert changes == [user.user_id]


def test_logout_all(register, log_in):
    user = register()
    clients = [user, log_in(user), log_in(user)]
    assert clients[1].post("/_matrix/client/r0/logout/all").json == {}
    assert [client.get(WHOAMI).status for client in clients] == [401, 401, 401]
    assert accounts.read_devices(user.user_id) == []
    assert log_in(user).get(WHOAMI).status == 200


# -- Being told ------------------------------------------------------------------------------------------

V3, V2 = "/_matrix/client/v3", "/_matrix/client/v2"
CHANGES = {
    "renaming": lambda one, other: one.put(f"{DEVICES}/{other.device_id}", {"display_name": "phone"}),
    "deleting": lambda one, other: one.delete(f"{DEVICES}/{other.device_id}", {"auth": password_auth(one)}),
    "deleting several": lambda one, other: one.post(
        f"{V3}/delete_devices", {"devices": [other.device_id], "auth": password_auth(one)}
    ),
    "logging out": lambda one, other: other.post(f"{V3}/logout"),
    "logging out everywhere": lambda one, other: other.post(f"{V3}/logout/all"),
    "a new password": lambda one, other: one.post(
        f"{V3}/account/password", {"new_password": "a new and long one", "auth": password_auth(one)}
    ),
    "revoking a token": lambda one, other: one.post(
        f"{V2}/account/revokeToken", {"access_token": other.token}
    ),
    "deactivation": lambda one, other: one.post(f"{V3}/account/deactivate", {"auth": password_auth(one)}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_rooms_are_told_of_changed_devices(register, log_in, change):
    """By a function that is allowed no more than its role allows."""
    user = register()
    tablet = log_in(user, device_id="TABLET")
    room = streams.room_stream(RoomId(create_room(user)))
    before = streams.read_head(room)
    answer = CHANGES[change](user, tablet)
    assert answer.status == 200, answer.body
    assert user.user_id in device_lists.users_in(streams.read_after(room, before))
