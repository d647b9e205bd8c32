"""https://spec.matrix.org/v1.19/client-server-api/#legacy-login"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration.accounts import passwords
from murmuration.accounts.registration import create_account
from murmuration.aws import dynamodb
from murmuration.protocol.identifiers import DeviceId
from murmuration.storage.users import accounts
from tests.accounts.conftest import PASSWORD, errcode, password_auth
from tests.in_process import Client

LOGIN = "/_matrix/client/v3/login"
WHOAMI = "/_matrix/client/v3/account/whoami"
GET_TOKEN = "/_matrix/client/v1/login/get_token"

pytestmark = pytest.mark.usefixtures("deployment")


def by_password(user, password=PASSWORD, **fields):
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": password,
        **fields,
    }


def test_the_flows():
    for version in ("r0", "v3"):
        assert Client().get(f"/_matrix/client/{version}/login").json == {
            "flows": [
                {"type": "m.login.password"},
                {"type": "m.login.token", "get_login_token": True},
            ]
        }


def test_login_by_localpart_user_id_and_the_older_field(register):
    user = register()
    localpart = user.user_id[1:].partition(":")[0]
    devices = set()
    for body in (
        by_password(localpart),
        by_password(user.user_id),
        by_password(user.user_id.upper().replace(":EXAMPLE.ORG", ":example.org")),
        {"type": "m.login.password", "user": localpart, "password": PASSWORD},
        {"type": "m.login.password", "user": user.user_id, "password": PASSWORD},
    ):
        answer = Client().post(LOGIN, body)
        assert answer.status == 200, answer.json
        assert answer.json["user_id"] == user.user_id
        assert answer.json["home_server"] == "example.org"
        assert "well_known" not in answer.json
        assert "refresh_token" not in answer.json
        devices.add(answer.json["device_id"])
        whoami = Client(answer.json["access_token"]).get(WHOAMI).json
        assert (whoami["user_id"], whoami["device_id"]) == (user.user_id, answer.json["device_id"])
    assert len(devices) == 5
    assert user.get(WHOAMI).status == 200


def test_the_answer_tells_of_a_base_url_that_the_server_name_does_not_tell(configure, register):
    configure(PUBLIC_URL="https://matrix.example.org/", IDENTITY_SERVER_URL="https://id.example.org")
    user = register()
    assert Client().post(LOGIN, by_password(user.user_id)).json["well_known"] == {
        "m.homeserver": {"base_url": "https://matrix.example.org"},
        "m.identity_server": {"base_url": "https://id.example.org"},
    }


def test_an_unknown_user_and_a_wrong_password_look_the_same(register, fresh_name, monkeypatch):
    hashed = []
    scrypt = hashlib.scrypt

    def record(secret, **options):
        hashed.append(options)
        return scrypt(secret, **options)

    monkeypatch.setattr(hashlib, "scrypt", record)
    user = register()
    hashed.clear()
    wrong = Client().post(LOGIN, by_password(user.user_id, "wrong"))
    costs = [hashed.pop()]
    for unknown in (fresh_name(), f"@{fresh_name()}:example.org", "@a:elsewhere.org", "no such name", ""):
        answer = Client().post(LOGIN, by_password(unknown, "wrong"))
        assert errcode(answer) == (403, "M_FORBIDDEN")
        assert answer.json == wrong.json
        costs.append(hashed.pop())
        assert not hashed
    assert {tuple(cost[name] for name in "nrp") for cost in costs} == {(16, 8, 5)}


def test_third_party_identifiers_name_nobody():
    for fields in (
        {"identifier": {"type": "m.id.thirdparty", "medium": "email", "address": "a@example.org"}},
        {"identifier": {"medium": "email", "address": "a@example.org"}},
        {"identifier": {"type": "m.id.phone", "country": "GB", "phone": "1"}},
        {"medium": "email", "address": "a@example.org"},
    ):
        answer = Client().post(LOGIN, {"type": "m.login.password", "password": "x", **fields})
        assert errcode(answer) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"type": 3}, "M_BAD_JSON"),
        ({"type": "m.login.magic"}, "M_UNKNOWN"),
        ({"type": "m.login.password"}, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "password": "x"}, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "password": 3, "user": "x"}, "M_BAD_JSON"),
        ({"type": "m.login.password", "password": "x", "user": 3}, "M_BAD_JSON"),
        ({"type": "m.login.password", "password": "x", "identifier": "x"}, "M_BAD_JSON"),
        ({"type": "m.login.password", "password": "x", "identifier": {}}, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "password": "x", "identifier": {"type": "m.id.cat"}}, "M_BAD_JSON"),
        (
            {"type": "m.login.password", "password": "x", "identifier": {"type": "m.id.user"}},
            "M_MISSING_PARAM",
        ),
        (by_password("x", "x", device_id=3), "M_BAD_JSON"),
        (by_password("x", "x", device_id="A#B"), "M_INVALID_PARAM"),
        (by_password("x", "x", initial_device_display_name=3), "M_BAD_JSON"),
        (by_password("x", "x", refresh_token=3), "M_BAD_JSON"),
        (by_password("x", "x" * 513), "M_INVALID_PARAM"),
        ({"type": "m.login.token"}, "M_MISSING_PARAM"),
        ({"type": "m.login.token", "token": 3}, "M_BAD_JSON"),
    ],
)
def test_malformed_logins(body, expected):
    assert errcode(Client().post(LOGIN, body)) == (400, expected)


def test_a_body_that_is_no_json_object():
    assert errcode(Client().post(LOGIN, b"nonsense")) == (400, "M_NOT_JSON")
    assert errcode(Client().post(LOGIN, b"3")) == (400, "M_BAD_JSON")


def test_half_a_surrogate_pair_is_no_password(register):
    user = register()
    body = json.dumps(by_password(user.user_id, "\ud800")).encode()
    assert errcode(Client().post(LOGIN, body)) == (400, "M_BAD_JSON")


# -- Devices ---------------------------------------------------------------------------------------------


def test_logging_in_on_a_known_device_takes_its_former_tokens_back(register, log_in):
    user = register(initial_device_display_name="phone")
    again = log_in(user, device_id=user.device_id, initial_device_display_name="ignored")
    assert again.device_id == user.device_id
    refused = user.get(WHOAMI)
    assert errcode(refused) == (401, "M_UNKNOWN_TOKEN")
    assert refused.json["soft_logout"] is False
    (device,) = again.get("/_matrix/client/v3/devices").json["devices"]
    assert device["display_name"] == "phone"


def test_a_known_device_without_a_name_stays_without(register, log_in):
    user = register()
    again = log_in(user, device_id=user.device_id, initial_device_display_name="ignored")
    assert "display_name" not in again.get(f"/_matrix/client/v3/devices/{user.device_id}").json


def test_a_login_without_refresh_token_takes_the_refresh_token_back(register, log_in):
    user = register()
    first = Client().post(LOGIN, by_password(user.user_id, device_id="D", refresh_token=True)).json
    log_in(user, device_id="D")
    refused = Client().post("/_matrix/client/v3/refresh", {"refresh_token": first["refresh_token"]})
    assert errcode(refused) == (401, "M_UNKNOWN_TOKEN")
    device = accounts.read_device(user.user_id, DeviceId("D"))
    assert device is not None
    assert "access_expires_ms" not in device


def test_a_new_device_begins_with_nothing_of_a_former_one(register, log_in):
    user = register()
    left = [
        ("keys", {"user_id": user.user_id, "sk": "otk#OLD#signed_curve25519#000000000001#AAAA"}),
        ("keys", {"user_id": user.user_id, "sk": "fallback#OLD#signed_curve25519"}),
        ("streams", {"stream_id": f"device:{user.user_id}/OLD", "sk": "message#1", "seq": 1}),
    ]
    other = ("keys", {"user_id": user.user_id, "sk": "otk#OLDER#signed_curve25519#000000000001#AAAA"})
    for table, item in (*left, other):
        dynamodb.execute(dynamodb.put(table, item))
    log_in(user, device_id="OLD")
    for table, item in left:
        assert dynamodb.get(table, {name: item[name] for name in item if name != "seq"}) is None
    assert dynamodb.get("keys", other[1]) is not None


def test_a_device_id_may_not_be_that_of_a_cross_signing_key(register):
    user = register()
    key = {"user_id": user.user_id, "usage": ["master"], "keys": {"ed25519:MASTERKEY": "MASTERKEY"}}
    item = {"user_id": user.user_id, "sk": "cross#master", "key": json.dumps(key)}
    dynamodb.execute(dynamodb.put("keys", item))
    answer = Client().post(LOGIN, by_password(user.user_id, device_id="MASTERKEY"))
    assert errcode(answer) == (403, "M_FORBIDDEN")
    assert accounts.read_device(user.user_id, DeviceId("MASTERKEY")) is None


def test_many_logins_on_one_device_at_once_leave_one_token(register):
    user = register()
    body = by_password(user.user_id, device_id="SHARED")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: Client().post(LOGIN, body), range(4)))
    assert {answer.status for answer in answers} <= {200, 503}
    tokens = [answer.json["access_token"] for answer in answers if answer.status == 200]
    assert len(tokens) == len(set(tokens)) > 0
    assert sorted(Client(token).get(WHOAMI).status for token in tokens)[0] == 200
    assert [Client(token).get(WHOAMI).status for token in tokens].count(200) == 1


def test_a_password_that_changes_during_a_login_refuses_it(register, monkeypatch):
    user = register()
    compare = passwords.matches

    def change_meanwhile(password, password_hash):
        found = compare(password, password_hash)
        accounts.set_password(user.user_id, passwords.hash_password("new"))
        return found

    monkeypatch.setattr(passwords, "matches", change_meanwhile)
    assert errcode(Client().post(LOGIN, by_password(user.user_id))) == (403, "M_FORBIDDEN")
    assert len(accounts.read_devices(user.user_id)) == 1


def test_admins_are_known_by_their_devices(fresh_name):
    from murmuration.accounts.management import set_admin
    from murmuration.identity.authentication import authenticate
    from murmuration.identity.tokens import AccessToken

    user_id = create_account(fresh_name("admin"), PASSWORD, is_admin=True)
    token = Client().post(LOGIN, by_password(user_id)).json["access_token"]
    assert authenticate(AccessToken.parse(token)).is_admin
    for admin in (False, True):
        set_admin(user_id, admin)
        assert authenticate(AccessToken.parse(token)).is_admin == admin


# -- Login tokens ----------------------------------------------------------------------------------------


def login_token(user):
    session = user.post(GET_TOKEN).json["session"]
    return user.post(GET_TOKEN, {"auth": password_auth(user, session=session)})


def test_a_login_token_logs_in_once(register):
    user = register()
    answer = login_token(user)
    assert answer.json["expires_in_ms"] == 120_000
    body = {"type": "m.login.token", "token": answer.json["login_token"], "device_id": "NEW"}
    found = Client().post(LOGIN, body)
    assert (found.json["user_id"], found.json["device_id"]) == (user.user_id, "NEW")
    assert errcode(Client().post(LOGIN, body)) == (403, "M_FORBIDDEN")


def test_of_two_logins_with_a_login_token_at_once_one_succeeds(register):
    body = {"type": "m.login.token", "token": login_token(register()).json["login_token"]}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: Client().post(LOGIN, body), range(4)))
    assert sorted(answer.status for answer in answers) == [200, 403, 403, 403]


def test_a_login_token_expires(register, clock):
    body = {"type": "m.login.token", "token": login_token(register()).json["login_token"]}
    clock.advance(120_000)
    assert errcode(Client().post(LOGIN, body)) == (403, "M_FORBIDDEN")


def test_each_login_token_asks_for_the_password_anew(register):
    user = register()
    session = user.post(GET_TOKEN, None).json["session"]
    auth = password_auth(user, session=session)
    assert user.post(GET_TOKEN, {"auth": auth}).status == 200
    again = user.post(GET_TOKEN, {"auth": {"session": session}})
    assert again.status == 401
    assert "login_token" not in again.json


def test_a_login_token_of_a_deactivated_user_is_useless(register):
    user = register()
    token = login_token(user).json["login_token"]
    accounts.begin_closing(user.user_id, at_ms=1, erase=False)
    answer = Client().post(LOGIN, {"type": "m.login.token", "token": token})
    assert errcode(answer) == (403, "M_USER_DEACTIVATED")


def test_login_tokens_need_an_access_token():
    assert errcode(Client().post(GET_TOKEN)) == (401, "M_MISSING_TOKEN")
