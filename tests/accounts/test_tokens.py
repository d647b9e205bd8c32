"""Access and refresh tokens: https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.identity.authentication import SEEN_INTERVAL_MS
from murmuration.identity.tokens import (
    ACCESS,
    ACCESS_LIFETIME_MS,
    REFRESH,
    AccessToken,
    hash_secret,
    render_token,
)
from murmuration.protocol.errors import UnknownToken
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.users import accounts
from tests.accounts.conftest import errcode
from tests.in_process import Client

WHOAMI = "/_matrix/client/v3/account/whoami"
REFRESH_PATH = "/_matrix/client/v3/refresh"

pytestmark = pytest.mark.usefixtures("deployment")


@pytest.fixture
def pair(register, log_in):
    """Return a user's device with tokens to refresh: (user, access token, refresh token)."""
    user = register()
    answer = (
        Client()
        .post(
            "/_matrix/client/v3/login",
            {
                "type": "m.login.password",
                "user": user.user_id,
                "password": "correct horse",
                "device_id": "DEVICE",
                "refresh_token": True,
            },
        )
        .json
    )
    return user, answer["access_token"], answer["refresh_token"]


def refresh(token):
    return Client().post(REFRESH_PATH, {"refresh_token": token})


def works(token):
    return Client(token).get(WHOAMI).status == 200


# -- Form ------------------------------------------------------------------------------------------------


@given(
    st.text("abc./=+_-0", min_size=1, max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_a_token_names_its_user_and_device(localpart, device_id):
    token = render_token(ACCESS, UserId(f"@{localpart}:example.org"), device_id, "secret-of_it")
    parsed = AccessToken.parse(token)
    assert (parsed.user_id, parsed.device_id) == (f"@{localpart}:example.org", device_id)
    assert parsed.matches(hash_secret("secret-of_it"))
    assert not parsed.matches(hash_secret("another"))
    assert not parsed.matches(None)


@given(st.text(max_size=80))
def test_garbage_is_no_token(text):
    with pytest.raises(UnknownToken):
        AccessToken.parse(text)


def test_the_kinds_are_not_exchangeable_and_the_length_is_bounded():
    token = render_token(REFRESH, UserId("@a:example.org"), DeviceId("D"), "secret")
    with pytest.raises(UnknownToken):
        AccessToken.parse(token)
    long = render_token(ACCESS, UserId("@a:example.org"), DeviceId("D" * 2000), "secret")
    with pytest.raises(UnknownToken):
        AccessToken.parse(long)
    assert errcode(Client(long).get(WHOAMI)) == (401, "M_UNKNOWN_TOKEN")


def test_requests_without_or_with_a_wrong_token():
    assert errcode(Client().get(WHOAMI)) == (401, "M_MISSING_TOKEN")
    for token in ("nonsense", render_token(ACCESS, UserId("@nobody:example.org"), DeviceId("D"), "x")):
        answer = Client(token).get(WHOAMI)
        assert errcode(answer) == (401, "M_UNKNOWN_TOKEN")
        assert answer.json["soft_logout"] is False


def test_the_secret_itself_is_stored_nowhere(pair):
    user, access, refresh_token = pair
    stored = str(accounts.read_device(user.user_id, DeviceId("DEVICE")))
    for token in (access, refresh_token):
        assert token.split(".")[-2] not in stored


# -- Refreshing ------------------------------------------------------------------------------------------


def test_a_refresh_gives_a_new_pair(pair):
    user, access, old = pair
    answer = refresh(old)
    assert answer.status == 200
    assert answer.json["expires_in_ms"] == ACCESS_LIFETIME_MS
    assert answer.json["access_token"] != access
    assert answer.json["refresh_token"] != old
    whoami = Client(answer.json["access_token"]).get(WHOAMI).json
    assert (whoami["user_id"], whoami["device_id"]) == (user.user_id, "DEVICE")


def test_the_old_tokens_stay_good_until_the_new_access_token_is_used(pair):
    _, access, old = pair
    new = refresh(old).json
    assert works(access)
    assert refresh(old).status == 200
    assert works(new["access_token"])
    assert not works(access)
    refused = refresh(old)
    assert errcode(refused) == (401, "M_UNKNOWN_TOKEN")
    assert refused.json["soft_logout"] is True
    assert works(new["access_token"])


def test_the_old_tokens_stay_good_until_the_new_refresh_token_is_used(pair):
    _, access, old = pair
    second = refresh(old).json
    third = refresh(second["refresh_token"])
    assert third.status == 200
    assert refresh(old).status == 401
    assert not works(access)
    assert works(second["access_token"])
    assert works(third.json["access_token"])
    assert not works(second["access_token"])


def test_a_repeated_refresh_gives_the_same_tokens(pair):
    _, _, old = pair
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: refresh(old), range(4)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["access_token"] for answer in answers}) == 1
    assert len({answer.json["refresh_token"] for answer in answers}) == 1
    assert works(answers[0].json["access_token"])


def test_the_next_tokens_cannot_be_told_from_the_old_refresh_token(pair, monkeypatch):
    user, _, old = pair
    first = refresh(old).json
    device = accounts.read_device(user.user_id, DeviceId("DEVICE"))
    assert device is not None
    accounts.update_device(user.user_id, DeviceId("DEVICE"), {"next_nonce": "another"})
    assert refresh(old).json["access_token"] != first["access_token"]


def test_many_rotations(pair):
    _, access, token = pair
    for _ in range(5):
        answer = refresh(token).json
        access, token = answer["access_token"], answer["refresh_token"]
        assert works(access)


def test_an_access_token_expires_and_can_be_refreshed_then(pair, clock):
    _, access, token = pair
    clock.advance(ACCESS_LIFETIME_MS - 1000)
    assert works(access)
    clock.advance(1000 * 60)
    answer = Client(access).get(WHOAMI)
    assert errcode(answer) == (401, "M_UNKNOWN_TOKEN")
    assert answer.json["soft_logout"] is True
    new = refresh(token).json
    assert works(new["access_token"])
    clock.advance(ACCESS_LIFETIME_MS + 1)
    assert not works(new["access_token"])


def test_a_refresh_that_was_never_picked_up_can_be_repeated_later(pair, clock):
    _, _, token = pair
    refresh(token)
    clock.advance(2 * ACCESS_LIFETIME_MS)
    assert works(refresh(token).json["access_token"])


def test_a_deleted_device_refuses_both_tokens(pair):
    _, access, token = pair
    assert Client(access).post("/_matrix/client/v3/logout").status == 200
    assert errcode(Client(access).get(WHOAMI)) == (401, "M_UNKNOWN_TOKEN")
    refused = refresh(token)
    assert errcode(refused) == (401, "M_UNKNOWN_TOKEN")
    assert refused.json["soft_logout"] is False


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"refresh_token": 3}, (400, "M_BAD_JSON")),
        ({"refresh_token": "nonsense"}, (401, "M_UNKNOWN_TOKEN")),
        ([], (400, "M_BAD_JSON")),
    ],
)
def test_malformed_refreshes(body, expected):
    assert errcode(Client().post(REFRESH_PATH, body)) == expected


def test_an_access_token_refreshes_nothing(pair):
    assert refresh(pair[1]).status == 401


# -- Last seen -------------------------------------------------------------------------------------------


def test_a_device_is_seen_at_most_once_in_ten_minutes(register, clock, monkeypatch):
    user = register()

    def seen():
        item = accounts.read_device(user.user_id, user.device_id)
        assert item is not None
        return item["last_seen_ms"], item["last_seen_ip"]

    begin = clock.now
    assert seen() == (begin, user.source_ip)
    clock.advance(SEEN_INTERVAL_MS - 1)
    user.get(WHOAMI)
    assert seen()[0] == begin
    clock.advance(1)
    user.get(WHOAMI)
    assert seen()[0] == clock.now


def test_being_seen_does_not_bring_a_deleted_device_back(register, clock):
    from murmuration.identity.authentication import verify

    user = register()
    device = accounts.read_device(user.user_id, user.device_id)
    accounts.delete_device_items(user.user_id, [user.device_id])
    clock.advance(SEEN_INTERVAL_MS)
    assert user.token is not None
    verify(AccessToken.parse(user.token), device, address=lambda: "1.2.3.4")
    assert accounts.read_device(user.user_id, user.device_id) is None


def test_the_address_is_asked_for_only_when_it_is_written(register, clock):
    from murmuration.identity.authentication import authenticate

    user = register()
    assert user.token is not None
    asked: list[int] = []

    def address() -> str:
        asked.append(clock.now)
        return "1.2.3.4"

    authenticate(AccessToken.parse(user.token), address=address)
    assert not asked
    clock.advance(SEEN_INTERVAL_MS)
    authenticate(AccessToken.parse(user.token), address=address)
    assert asked == [clock.now]
