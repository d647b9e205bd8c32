"""Passwords, deactivation, OpenID tokens.

https://spec.matrix.org/v1.19/client-server-api/#legacy-account-management
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.accounts import management
from murmuration.accounts.interactive.interactive_auth import Attempt
from murmuration.accounts.management import close_account
from murmuration.accounts.openid import openid_user
from murmuration.aws import dynamodb
from murmuration.clock import now_ms
from murmuration.federation.membership import leaving as membership
from murmuration.protocol.errors import UnknownToken
from murmuration.protocol.identifiers import UserId
from murmuration.storage.live import streams
from murmuration.storage.users import accounts
from tests.accounts.conftest import PASSWORD, errcode, password_auth
from tests.faults import Way, fault
from tests.in_process import Client, segment
from tests.rooms.people import ok

CHANGE = "/_matrix/client/v3/account/password"
DEACTIVATE = "/_matrix/client/v3/account/deactivate"
WHOAMI = "/_matrix/client/v3/account/whoami"

pytestmark = pytest.mark.usefixtures("deployment")


def log_in_status(user, password):
    body = {"type": "m.login.password", "user": user.user_id, "password": password}
    return errcode(Client().post("/_matrix/client/v3/login", body))


# -- Password --------------------------------------------------------------------------------------------


def test_changing_the_password_logs_the_other_devices_out(register, log_in):
    user = register()
    other = log_in(user)
    body = {"new_password": "new"}
    challenge = user.post(CHANGE, body)
    assert challenge.status == 401
    assert challenge.json["flows"] == [{"stages": ["m.login.password"]}]
    auth = password_auth(user, session=challenge.json["session"])
    assert user.post(CHANGE, {**body, "auth": auth}).json == {}
    assert log_in_status(user, PASSWORD) == (403, "M_FORBIDDEN")
    assert log_in_status(user, "new") == (200, None)
    assert user.get(WHOAMI).status == 200
    assert other.get(WHOAMI).status == 401
    # The answer may have been lost: the session is good for the same request again.
    assert user.post(CHANGE, {**body, "auth": auth}).status == 200


def test_the_other_devices_may_stay(register, log_in):
    user = register()
    other = log_in(user)
    body = {"new_password": "new", "logout_devices": False, "auth": password_auth(user)}
    assert user.post(CHANGE, body).status == 200
    assert other.get(WHOAMI).status == user.get(WHOAMI).status == 200


def test_the_old_password_suffices_without_an_access_token(register):
    user = register()
    stranger = Client()
    session = stranger.post(CHANGE, {"new_password": "new"}).json["session"]
    body = {"new_password": "new", "auth": password_auth(user, session=session)}
    assert stranger.post(CHANGE, body).status == 200
    assert log_in_status(user, "new") == (200, None)
    assert user.get(WHOAMI).status == 401


def test_a_session_for_one_password_sets_no_other(register):
    user = register()
    session = user.post(CHANGE, {"new_password": "new"}).json["session"]
    body = {"new_password": "other", "auth": password_auth(user, session=session)}
    assert errcode(user.post(CHANGE, body)) == (403, "M_FORBIDDEN")
    assert log_in_status(user, PASSWORD) == (200, None)


def test_a_session_does_not_tell_the_new_password(register):
    user = register()
    session = user.post(CHANGE, {"new_password": "new"}).json["session"]
    guess = Attempt("POST", CHANGE, {"new_password": "new"}).digest(user.user_id, bind_body=True)
    assert not session.endswith(guess)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"new_password": 3}, (400, "M_BAD_JSON")),
        ({"new_password": ""}, (400, "M_WEAK_PASSWORD")),
        ({"new_password": "x" * 513}, (400, "M_INVALID_PARAM")),
        ({"new_password": "x", "logout_devices": "no"}, (400, "M_BAD_JSON")),
    ],
)
def test_malformed_password_changes(register, body, expected):
    user = register()
    assert errcode(user.post(CHANGE, {**body, "auth": password_auth(user)})) == expected
    assert log_in_status(user, PASSWORD) == (200, None)


def test_a_wrong_access_token_is_not_taken_for_none(register):
    assert errcode(Client("nonsense").post(CHANGE, {"new_password": "x"})) == (401, "M_UNKNOWN_TOKEN")


# -- Deactivation ----------------------------------------------------------------------------------------


@pytest.fixture
def departures(monkeypatch):
    """Return the list of users who left all their rooms."""
    left = []
    original = membership.leave_all_rooms

    def record(user_id):
        left.append(user_id)
        original(user_id)

    monkeypatch.setattr(membership, "leave_all_rooms", record)
    return left


def test_deactivation(register, log_in, departures):
    user = register()
    other = log_in(user)
    items = [
        ("keys", {"user_id": user.user_id, "sk": "cross#master"}),
        ("users", {"user_id": user.user_id, "sk": "filter#1"}),
        ("streams", {"stream_id": f"user:{user.user_id}", "sk": "data##m.direct"}),
    ]
    for table, key in items:
        dynamodb.execute(dynamodb.put(table, {**key, "seq": 1, "key": '{"keys":{"a":"b"}}'}))
    challenge = user.post(DEACTIVATE)
    assert challenge.status == 401
    assert challenge.json["flows"] == [{"stages": ["m.login.password"]}]
    body = {"auth": password_auth(user, session=challenge.json["session"])}
    assert user.post(DEACTIVATE, body).json == {"id_server_unbind_result": "success"}

    assert departures == [user.user_id]
    assert user.get(WHOAMI).status == other.get(WHOAMI).status == 401
    assert log_in_status(user, PASSWORD) == (403, "M_USER_DEACTIVATED")
    assert log_in_status(user, "wrong") == (403, "M_USER_DEACTIVATED")
    assert [dynamodb.get(table, key) for table, key in items] == [None] * 3
    assert Client().get(f"/_matrix/client/v3/profile/{user.user_id}").status == 404
    account = accounts.read_account(user.user_id)
    assert account is not None
    assert "password_hash" not in account
    assert "erased" not in account


def test_no_word_of_a_deactivated_users_name_stays(register):
    """Another user with the same name is still found."""
    gone, other = register(), register()
    name = {"displayname": "Ottilie Quandt"}
    for user in (gone, other):
        assert user.put(f"/_matrix/client/v3/profile/{user.user_id}/displayname", name).status == 200
    challenge = gone.post(DEACTIVATE)
    assert (
        gone.post(DEACTIVATE, {"auth": password_auth(gone, session=challenge.json["session"])}).status == 200
    )
    words = [item["sk"] for item in dynamodb.scan("directory") if item["pk"].startswith("user-words#")]
    assert not [word for word in words if word.endswith(f"#{gone.user_id}")]
    assert {f"ottilie#{other.user_id}", f"quandt#{other.user_id}"} <= set(words)


def test_a_deactivated_name_is_not_given_out_again(register):
    user = register()
    user.post(DEACTIVATE, {"auth": password_auth(user)})
    name = user.user_id[1:].partition(":")[0]
    available = Client().get("/_matrix/client/v3/register/available", username=name)
    assert errcode(available) == (400, "M_USER_IN_USE")
    body = {"username": name, "password": "x", "auth": {"type": "m.login.dummy"}}
    assert errcode(Client().post("/_matrix/client/v3/register", body)) == (400, "M_USER_IN_USE")


def test_erasure_is_noted(register):
    user = register()
    rooms = "/_matrix/client/v3"
    room_id = user.post(f"{rooms}/createRoom", {"preset": "public_chat"}).json["room_id"]
    path = f"{rooms}/rooms/{segment(room_id)}"
    sent = user.put(f"{path}/send/m.room.message/1", {"msgtype": "m.text", "body": "x"}).json["event_id"]
    other, late = register(), register()
    assert other.post(f"{path}/join").status == 200
    user.post(DEACTIVATE, {"auth": password_auth(user), "erase": True})
    account = accounts.read_account(user.user_id)
    assert account is not None
    assert account["erased"] is True
    assert late.post(f"{path}/join").status == 200
    contents = [each.get(f"{path}/event/{sent}").json["content"] for each in (other, late)]
    assert contents == [{"msgtype": "m.text", "body": "x"}, {}]


def test_deactivation_without_an_access_token(register):
    user = register()
    assert Client().post(DEACTIVATE, {"auth": password_auth(user)}).status == 200
    assert user.get(WHOAMI).status == 401


def test_a_wrong_password_deactivates_nobody(register, departures):
    user = register()
    body = {"auth": password_auth(user, "wrong")}
    assert errcode(user.post(DEACTIVATE, body)) == (401, "M_FORBIDDEN")
    assert errcode(user.post(DEACTIVATE, {**body, "erase": "yes"})) == (400, "M_BAD_JSON")
    assert departures == []
    assert log_in_status(user, PASSWORD) == (200, None)


def test_a_deactivation_that_stopped_halfway_can_be_repeated(register, log_in, monkeypatch):
    user = register()
    other = log_in(user)
    body = {"auth": password_auth(user)}

    def stop(user_id):
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(membership, "leave_all_rooms", stop)
        assert user.post(DEACTIVATE, body).status == 500
    assert other.get(WHOAMI).status == 401
    assert log_in_status(user, PASSWORD) == (403, "M_USER_DEACTIVATED")
    assert user.post(DEACTIVATE, body).json == {"id_server_unbind_result": "success"}
    assert user.get(WHOAMI).status == 401
    assert accounts.read_devices(user.user_id) == []


def left_of(user_id: UserId) -> dict[str, Any]:
    """Return what is stored of a user, without times, event IDs and how often other servers are told."""
    passing = {"created_ms", "deactivated_ms", "changed_ms", "event_id"}
    items = dynamodb.query("users", "user_id = :user", {":user": user_id})
    of_user = {item["sk"]: {name: item[name] for name in item.keys() - passing} for item in items}
    keys = dynamodb.query("keys", "user_id = :user", {":user": user_id})
    return {
        "users": of_user,
        "keys": sorted({item["sk"].partition("#")[0] for item in keys}),
        "waits": user_id in accounts.read_closing(2**53),
    }


def furnish(user: Client) -> None:
    """Give a user a room, a name, a filter and account data."""
    ok(user.post("/_matrix/client/v3/createRoom", {}))
    ok(user.put(f"/_matrix/client/v3/profile/{user.user_id}/displayname", {"displayname": "Ottilie"}))
    ok(user.post(f"/_matrix/client/v3/user/{user.user_id}/filter", {"room": {"rooms": []}}))
    ok(user.put(f"/_matrix/client/v3/user/{user.user_id}/account_data/x.y", {"a": 1}))


def shape(left: dict[str, Any], user: Client) -> str:
    """Return what is left, with the user and their rooms by other names."""
    text = json.dumps(left, sort_keys=True, default=str).replace(user.user_id, "@user")
    return re.sub(r"![\w-]{43}", "!room", text)


@pytest.mark.parametrize("way", [Way.BEFORE, Way.AFTER])
@pytest.mark.parametrize("again", ["by the password", "by the worker"])
def test_a_closing_that_stops_at_any_write_goes_on_without_a_token(
    register: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, way: Way, again: str
) -> None:
    monkeypatch.setattr(management, "CLOSING_MS", -60_000)
    whole = register()
    furnish(whole)
    with fault(0) as counted:
        close_account(UserId(whole.user_id), erase=True)
    expected = shape(left_of(UserId(whole.user_id)), whole)
    assert counted.writes > 5
    for number in range(1, counted.writes + 1):
        user = register()
        furnish(user)
        with fault(number, way), contextlib.suppress(Exception):
            close_account(UserId(user.user_id), erase=True)
        body = {"auth": password_auth(user), "erase": True}
        account = accounts.read_account(UserId(user.user_id))
        if again == "by the worker" and account is not None and "deactivated_ms" in account:
            management.finish_closing()
        elif Client().post(DEACTIVATE, body).status != 200:
            assert number == counted.writes
            assert way is Way.AFTER  # only the answer was lost
        assert shape(left_of(UserId(user.user_id)), user) == expected
        assert log_in_status(user, PASSWORD) == (403, "M_USER_DEACTIVATED")


def test_one_closing_that_fails_keeps_no_other_from_going_on(
    register: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(management, "CLOSING_MS", -60_000)
    users = sorted(UserId(register().user_id) for _ in range(2))
    for user_id in users:
        accounts.begin_closing(user_id, at_ms=1, erase=False)

    original = membership.leave_all_rooms

    def fail(user_id: UserId) -> None:
        if user_id == users[0]:
            raise TimeoutError
        original(user_id)

    with monkeypatch.context() as patch:
        patch.setattr(membership, "leave_all_rooms", fail)
        management.finish_closing()
    assert set(users) & set(accounts.read_closing(2**53)) == {users[0]}
    management.finish_closing()
    assert not set(users) & set(accounts.read_closing(2**53))


def test_a_closing_that_has_just_begun_is_left_to_its_request(register: Callable[..., Client]) -> None:
    user_id = UserId(register().user_id)
    accounts.begin_closing(user_id, at_ms=now_ms(), erase=False)
    management.finish_closing()
    assert user_id in accounts.read_closing(2**53)
    close_account(user_id)


def test_the_password_of_an_account_that_is_being_closed_is_good_for_nothing_else(
    register: Callable[..., Client],
) -> None:
    user = register()
    accounts.begin_closing(UserId(user.user_id), at_ms=now_ms(), erase=False)
    change = {"new_password": "new", "auth": password_auth(user)}
    assert errcode(Client().post(CHANGE, change)) == (403, "M_USER_DEACTIVATED")
    wrong = {"auth": password_auth(user, "wrong")}
    assert errcode(Client().post(DEACTIVATE, wrong)) == (401, "M_FORBIDDEN")
    assert Client().post(DEACTIVATE, {"auth": password_auth(user)}).status == 200


def test_a_deactivated_users_stream_keeps_its_position(register):
    user = register()
    streams.append(streams.user_stream(user.user_id), lambda: [{"sk": "data##a"}])
    before = streams.read_head(streams.user_stream(user.user_id))
    user.post(DEACTIVATE, {"auth": password_auth(user)})
    assert streams.read_head(streams.user_stream(user.user_id)) >= before


# -- OpenID ----------------------------------------------------------------------------------------------


def test_an_openid_request_has_a_json_body(register):
    user = register()
    answer = user.post(f"/_matrix/client/v3/user/{user.user_id}/openid/request_token", b"{")
    assert (answer.status, answer.json["errcode"]) == (400, "M_NOT_JSON")


def test_an_openid_token_proves_its_user_for_an_hour(register, clock):
    user = register()
    path = f"/_matrix/client/v3/user/{user.user_id}/openid/request_token"
    answer = user.post(path)
    assert answer.json == {
        "access_token": answer.json["access_token"],
        "token_type": "Bearer",
        "matrix_server_name": "example.org",
        "expires_in": 3600,
    }
    token = answer.json["access_token"]
    assert openid_user(token) == openid_user(token) == user.user_id
    assert Client(token).get(WHOAMI).status == 401
    clock.advance(3_600_000)
    with pytest.raises(UnknownToken):
        openid_user(token)


def test_openid_tokens_are_for_oneself(register):
    user, other = register(), register()
    path = f"/_matrix/client/v3/user/{other.user_id}/openid/request_token"
    assert errcode(user.post(path)) == (403, "M_FORBIDDEN")
    assert errcode(Client().post(path)) == (401, "M_MISSING_TOKEN")
