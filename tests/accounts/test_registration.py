"""https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration.accounts.registration import create_account
from murmuration.accounts.registration_tokens import create_registration_token
from murmuration.storage.auth import auth_sessions
from murmuration.storage.auth import registration_tokens as stored_tokens
from murmuration.storage.users import accounts
from tests.accounts.conftest import PASSWORD, errcode
from tests.faults import Way, fault
from tests.in_process import Client

REGISTER = "/_matrix/client/v3/register"
AVAILABLE = "/_matrix/client/v3/register/available"
VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"
DUMMY = {"type": "m.login.dummy"}

pytestmark = pytest.mark.usefixtures("deployment")


def test_registration_asks_for_authentication_first_and_then_logs_in(fresh_name):
    name = fresh_name()
    body = {"username": name, "password": PASSWORD, "initial_device_display_name": "phone"}
    challenge = Client().post(REGISTER, body)
    assert challenge.status == 401
    assert challenge.json["flows"] == [{"stages": ["m.login.dummy"]}]
    assert challenge.json["params"] == {}
    assert "errcode" not in challenge.json

    answer = Client().post(REGISTER, {**body, "auth": {**DUMMY, "session": challenge.json["session"]}})
    assert answer.status == 200
    assert answer.json["user_id"] == f"@{name}:example.org"
    assert answer.json["home_server"] == "example.org"
    assert "refresh_token" not in answer.json

    client = Client(answer.json["access_token"])
    assert client.get("/_matrix/client/v3/account/whoami").json == {
        "user_id": answer.json["user_id"],
        "device_id": answer.json["device_id"],
        "is_guest": False,
    }
    (device,) = client.get("/_matrix/client/v3/devices").json["devices"]
    assert (device["device_id"], device["display_name"]) == (answer.json["device_id"], "phone")


def test_the_first_requests_parameters_are_remembered(fresh_name):
    name = fresh_name()
    first = {
        "username": name,
        "password": PASSWORD,
        "device_id": "PHONE",
        "initial_device_display_name": "phone",
        "refresh_token": True,
    }
    session = Client().post(REGISTER, first).json["session"]
    done = Client().post(REGISTER, {"auth": {**DUMMY, "session": session}})
    assert (done.status, done.json["user_id"], done.json["device_id"]) == (
        200,
        f"@{name}:example.org",
        "PHONE",
    )
    assert "refresh_token" in done.json
    (device,) = Client(done.json["access_token"]).get("/_matrix/client/v3/devices").json["devices"]
    assert device["display_name"] == "phone"
    log_in = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}}
    assert Client().post("/_matrix/client/v3/login", {**log_in, "password": PASSWORD}).status == 200
    assert Client().post("/_matrix/client/v3/login", {**log_in, "password": "other"}).status == 403
    again = Client().post(REGISTER, {"auth": {**DUMMY, "session": session}})
    assert again.status == 400, "the session has registered a user, and no more is known of it"


def test_later_parameters_count_more_than_the_first(fresh_name):
    name, password = fresh_name(), f"{PASSWORD} of later"
    session = Client().post(REGISTER, {"username": fresh_name(), "password": PASSWORD}).json["session"]
    body = {"username": name, "password": password, "auth": {**DUMMY, "session": session}}
    assert Client().post(REGISTER, body).json["user_id"] == f"@{name}:example.org"
    log_in = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}}
    assert Client().post("/_matrix/client/v3/login", {**log_in, "password": password}).status == 200


def test_a_remembered_password_is_kept_as_its_hash(fresh_name):
    session = Client().post(REGISTER, {"username": fresh_name(), "password": PASSWORD}).json["session"]
    stored = auth_sessions.read_session(session).parameters
    assert PASSWORD not in str(stored)
    assert set(stored) == {"username", "password_hash"}


def test_the_display_name_begins_as_the_localpart(register):
    client = register()
    profile = client.get(f"/_matrix/client/v3/profile/{client.user_id}").json
    assert profile == {"displayname": client.user_id[1:].partition(":")[0]}


def test_a_null_auth_is_none(fresh_name):
    body = {"username": fresh_name(), "password": PASSWORD, "auth": None}
    assert "session" in Client().post(REGISTER, body).json


def test_a_username_is_made_up_where_none_is_wanted(fresh_name):
    users = {Client().post(REGISTER, {"password": PASSWORD, "auth": DUMMY}).json["user_id"] for _ in range(3)}
    assert len(users) == 3


def test_inhibit_login_makes_no_device(fresh_name):
    body = {"username": fresh_name(), "password": PASSWORD, "auth": DUMMY, "inhibit_login": True}
    answer = Client().post(REGISTER, body)
    assert answer.status == 200
    assert set(answer.json) == {"user_id", "home_server"}
    assert accounts.read_devices(answer.json["user_id"]) == []


def test_the_client_may_choose_its_device_id(register):
    assert register(device_id="MYDEVICE").device_id == "MYDEVICE"


def test_a_client_that_can_refresh_gets_a_refresh_token(fresh_name):
    body = {"username": fresh_name(), "password": PASSWORD, "auth": DUMMY, "refresh_token": True}
    answer = Client().post(REGISTER, body).json
    assert answer["refresh_token"] != answer["access_token"]
    assert answer["expires_in_ms"] > 0


def test_capitals_of_usernames_are_brought_down(fresh_name):
    name = fresh_name()
    answer = Client().post(REGISTER, {"username": name.upper(), "password": PASSWORD, "auth": DUMMY})
    assert answer.json["user_id"] == f"@{name}:example.org"


@pytest.mark.parametrize("character", [*"!\":?\\@[]{|}£é\n'#", "", "\u212a"])
def test_other_usernames_are_refused(character):
    body = {"username": f"user{character}x" if character else "", "password": PASSWORD}
    assert errcode(Client().post(REGISTER, body)) == (400, "M_INVALID_USERNAME")


def test_names_of_bridges_are_for_operators_to_give(fresh_name):
    name = f"_{fresh_name()}"
    body = {"username": name, "password": PASSWORD, "auth": DUMMY}
    assert errcode(Client().post(REGISTER, body)) == (400, "M_INVALID_USERNAME")
    assert errcode(Client().get(AVAILABLE, username=name)) == (400, "M_INVALID_USERNAME")
    assert create_account(name, PASSWORD) == f"@{name}:example.org"


@pytest.mark.parametrize("character", "q3._=-/+")
def test_each_character_of_the_grammar_is_allowed(fresh_name, character):
    name = fresh_name() + character
    answer = Client().post(REGISTER, {"username": name, "password": PASSWORD, "auth": DUMMY})
    assert answer.json["user_id"] == f"@{name}:example.org"


def test_a_user_id_may_have_255_bytes(fresh_name):
    name = fresh_name()
    longest = name + "x" * (255 - len("@:example.org") - len(name))
    too_long = Client().post(REGISTER, {"username": longest + "x", "password": PASSWORD, "auth": DUMMY})
    assert errcode(too_long) == (400, "M_INVALID_USERNAME")
    answer = Client().post(REGISTER, {"username": longest, "password": PASSWORD, "auth": DUMMY})
    assert answer.status == 200
    client = Client(answer.json["access_token"])
    assert client.get("/_matrix/client/v3/account/whoami").json["user_id"] == f"@{longest}:example.org"


def test_a_name_in_use_is_refused_before_authentication_and_after(register, fresh_name):
    name = fresh_name()
    session = Client().post(REGISTER, {"username": name, "password": PASSWORD}).json["session"]
    register(name)
    body = {"username": name, "password": "other"}
    assert errcode(Client().post(REGISTER, body)) == (400, "M_USER_IN_USE")
    late = Client().post(REGISTER, {**body, "auth": {**DUMMY, "session": session}})
    assert errcode(late) == (400, "M_USER_IN_USE")
    # The session is still good for another name.
    other = Client().post(REGISTER, {**body, "username": fresh_name(), "auth": {"session": session}})
    assert other.status == 200


def test_of_two_registrations_of_a_name_at_once_one_wins(fresh_name):
    name = fresh_name()
    body = {"username": name, "password": PASSWORD, "auth": DUMMY}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: Client().post(REGISTER, body), range(6)))
    assert sorted(errcode(answer) for answer in answers) == [(200, None)] + [(400, "M_USER_IN_USE")] * 5
    (winner,) = (answer for answer in answers if answer.status == 200)
    whoami = Client(winner.json["access_token"]).get("/_matrix/client/v3/account/whoami")
    assert whoami.json["user_id"] == f"@{name}:example.org"


@pytest.mark.parametrize("inhibit_login", [False, True])
def test_a_registration_that_was_interrupted_is_repeated_on_the_same_device(fresh_name, inhibit_login):
    body = {"username": fresh_name(), "password": PASSWORD, "device_id": "PHONE"}
    session = Client().post(REGISTER, body).json["session"]
    body["auth"] = {**DUMMY, "session": session}
    with fault(2, Way.AFTER):
        assert Client().post(REGISTER, {**body, "inhibit_login": inhibit_login}).status == 500
    answer = Client().post(REGISTER, body)
    assert answer.status == 200, answer.json
    client = Client(answer.json["access_token"])
    devices = client.get("/_matrix/client/v3/devices").json["devices"]
    assert [each["device_id"] for each in devices] == ["PHONE"]


def test_a_registration_repeated_after_its_answer_was_lost_logs_in(fresh_name):
    body = {"username": fresh_name(), "password": PASSWORD}
    session = Client().post(REGISTER, body).json["session"]
    first = Client().post(REGISTER, {**body, "auth": {**DUMMY, "session": session}})
    again = Client().post(REGISTER, {**body, "auth": {**DUMMY, "session": session}})
    assert again.status == first.status == 200
    assert again.json["user_id"] == first.json["user_id"]
    quiet = {**body, "inhibit_login": True, "auth": {"session": session}}
    assert Client().post(REGISTER, quiet).json == {
        "user_id": first.json["user_id"],
        "home_server": "example.org",
    }
    thief = Client().post(REGISTER, {**body, "password": "guess", "auth": {"session": session}})
    assert errcode(thief) == (400, "M_USER_IN_USE")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"password": None}, "M_MISSING_PARAM"),
        ({"password": 3}, "M_BAD_JSON"),
        ({"password": ""}, "M_WEAK_PASSWORD"),
        ({"password": "x" * 513}, "M_INVALID_PARAM"),
        ({"username": 3}, "M_BAD_JSON"),
        ({"device_id": 3}, "M_BAD_JSON"),
        ({"device_id": "A#B"}, "M_INVALID_PARAM"),
        ({"device_id": "x" * 256}, "M_INVALID_PARAM"),
        ({"initial_device_display_name": []}, "M_BAD_JSON"),
        ({"initial_device_display_name": "x" * 101}, "M_INVALID_PARAM"),
        ({"inhibit_login": "yes"}, "M_BAD_JSON"),
        ({"refresh_token": "yes"}, "M_BAD_JSON"),
        ({"auth": "yes"}, "M_BAD_JSON"),
        ({"auth": {"type": 3}}, "M_BAD_JSON"),
        ({"auth": {"type": "m.login.dummy", "session": 3}}, "M_BAD_JSON"),
        ({"auth": {"type": "m.login.dummy", "session": "made up"}}, "M_INVALID_PARAM"),
    ],
)
def test_malformed_requests_are_refused(fresh_name, fields, expected):
    body = {"username": fresh_name(), "password": PASSWORD, "auth": DUMMY, **fields}
    assert errcode(Client().post(REGISTER, body)) == (400, expected)


def test_guests_and_unknown_kinds_are_refused():
    assert errcode(Client().post(REGISTER, {}, kind="guest")) == (403, "M_FORBIDDEN")
    assert errcode(Client().post(REGISTER, {}, kind="cat")) == (400, "M_INVALID_PARAM")


def test_bodies_that_are_no_json_objects_are_refused():
    assert errcode(Client().post(REGISTER, b"{")) == (400, "M_NOT_JSON")
    assert errcode(Client().post(REGISTER, [1])) == (400, "M_BAD_JSON")


def test_the_versions_of_the_endpoint(fresh_name):
    body = {"username": fresh_name(), "password": PASSWORD}
    assert Client().post("/_matrix/client/r0/register", body).status == 401
    assert errcode(Client().post("/_matrix/client/v9/register", body)) == (404, "M_UNRECOGNIZED")


def test_closed_registration_is_forbidden(configure, fresh_name):
    configure(REGISTRATION="closed")
    body = {"username": fresh_name(), "password": PASSWORD, "auth": DUMMY}
    assert errcode(Client().post(REGISTER, body)) == (403, "M_FORBIDDEN")
    assert errcode(Client().get(AVAILABLE, username=fresh_name())) == (403, "M_FORBIDDEN")
    assert errcode(Client().get(VALIDITY, token="x")) == (403, "M_FORBIDDEN")


# -- Availability ----------------------------------------------------------------------------------------


def test_availability(register, fresh_name):
    name = fresh_name()
    assert Client().get(AVAILABLE, username=name).json == {"available": True}
    register(name)
    assert errcode(Client().get(AVAILABLE, username=name)) == (400, "M_USER_IN_USE")
    assert errcode(Client().get(AVAILABLE, username="a b")) == (400, "M_INVALID_USERNAME")
    assert errcode(Client().get(AVAILABLE)) == (400, "M_MISSING_PARAM")


# -- Registration tokens ---------------------------------------------------------------------------------


def with_token(name, token, **auth):
    return {
        "username": name,
        "password": PASSWORD,
        "auth": {"type": "m.login.registration_token", "token": token, **auth},
    }


def test_registration_by_token(configure, fresh_name):
    configure(REGISTRATION="token")
    token = create_registration_token(uses_allowed=1)
    name = fresh_name()
    challenge = Client().post(REGISTER, {"username": name, "password": PASSWORD}).json
    assert challenge["flows"] == [{"stages": ["m.login.registration_token"]}]
    session = challenge["session"]

    wrong = Client().post(REGISTER, with_token(name, "wrong", session=session))
    assert errcode(wrong) == (401, "M_FORBIDDEN")
    assert wrong.json["session"] == session
    assert Client().get(VALIDITY, token=token).json == {"valid": True}

    assert Client().post(REGISTER, with_token(name, token, session=session)).status == 200
    stored = stored_tokens.read_token(token)
    assert stored is not None
    assert (stored.completed, dict(stored.pending)) == (1, {})
    assert Client().get(VALIDITY, token=token).json == {"valid": False}
    spent = Client().post(REGISTER, with_token(fresh_name(), token))
    assert errcode(spent) == (401, "M_FORBIDDEN")


def test_the_dummy_stage_does_not_replace_the_token(configure, fresh_name):
    configure(REGISTRATION="token")
    body = {"username": fresh_name(), "password": PASSWORD, "auth": DUMMY}
    assert errcode(Client().post(REGISTER, body)) == (401, "M_FORBIDDEN")


def test_a_session_holds_its_use_of_a_token_while_its_name_is_taken(configure, register, fresh_name, clock):
    configure(REGISTRATION="token")
    token = create_registration_token(uses_allowed=1)
    name, other = fresh_name(), fresh_name()
    session = Client().post(REGISTER, {"username": name, "password": PASSWORD}).json["session"]
    configure(REGISTRATION="open")
    register(name)
    configure(REGISTRATION="token")
    late = Client().post(REGISTER, with_token(name, token, session=session))
    assert errcode(late) == (400, "M_USER_IN_USE")
    assert Client().get(VALIDITY, token=token).json == {"valid": False}
    assert Client().post(REGISTER, with_token(other, token, session=session)).status == 200


def test_a_claim_lapses(configure, register, fresh_name, clock):
    configure(REGISTRATION="token")
    token = create_registration_token(uses_allowed=1)
    name = fresh_name()
    session = Client().post(REGISTER, {"username": name, "password": PASSWORD}).json["session"]
    configure(REGISTRATION="open")
    register(name)
    configure(REGISTRATION="token")
    Client().post(REGISTER, with_token(name, token, session=session))
    assert Client().get(VALIDITY, token=token).json == {"valid": False}
    clock.advance(25 * 3600 * 1000)
    assert Client().get(VALIDITY, token=token).json == {"valid": True}
    assert Client().post(REGISTER, with_token(fresh_name(), token)).status == 200


def test_a_token_expires(configure, clock, fresh_name):
    configure(REGISTRATION="token")
    token = create_registration_token(expiry_ms=clock.now + 1000)
    assert Client().get(VALIDITY, token=token).json == {"valid": True}
    clock.advance(1000)
    assert Client().get(VALIDITY, token=token).json == {"valid": False}
    assert errcode(Client().post(REGISTER, with_token(fresh_name(), token))) == (401, "M_FORBIDDEN")


def test_a_token_is_never_used_more_often_than_allowed(configure, fresh_name):
    configure(REGISTRATION="token")
    token = create_registration_token(uses_allowed=2)
    names = [fresh_name() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda name: Client().post(REGISTER, with_token(name, token)), names))
    assert sorted(answer.status for answer in answers) == [200, 200, 401, 401, 401, 401]
    stored = stored_tokens.read_token(token)
    assert stored is not None
    assert (stored.completed, dict(stored.pending)) == (2, {})


def test_an_unlimited_token_serves_many_at_once(configure, fresh_name):
    configure(REGISTRATION="token")
    token = create_registration_token()
    names = [fresh_name() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda name: Client().post(REGISTER, with_token(name, token)), names))
    assert [answer.status for answer in answers] == [200] * 4


@pytest.mark.parametrize("token", ["", "a b", "x" * 65, "é"])
def test_what_can_be_no_token_is_not_valid(configure, fresh_name, token):
    configure(REGISTRATION="token")
    assert Client().get(VALIDITY, token=token).json == {"valid": False}
    assert errcode(Client().post(REGISTER, with_token(fresh_name(), token))) == (401, "M_FORBIDDEN")


def test_malformed_token_requests(configure, fresh_name):
    configure(REGISTRATION="token")
    assert errcode(Client().get(VALIDITY)) == (400, "M_MISSING_PARAM")
    assert errcode(Client().post(REGISTER, with_token(fresh_name(), None))) == (400, "M_MISSING_PARAM")
    assert errcode(Client().post(REGISTER, with_token(fresh_name(), 3))) == (400, "M_BAD_JSON")
