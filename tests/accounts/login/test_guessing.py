"""Passwords can't be guessed faster than the limits say, and guessing locks no owner out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from murmuration.accounts import login_guesses, passwords
from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import LIMITS
from murmuration.protocol.identifiers import UserId
from murmuration.storage.users import accounts
from tests.accounts.conftest import PASSWORD, password_auth
from tests.in_process import Answer, Client
from tests.local_cloud.waiting import PATIENCE_S
from tests.logged_in import log_in

pytestmark = pytest.mark.usefixtures("deployment", "limits_on")

V3 = "/_matrix/client/v3"
PAGE = f"{V3}/auth/m.login.password/fallback/web"
BURST = LIMITS["failed_login"].burst
Door = Callable[[Client, str], Answer]


@pytest.fixture
def make(fresh_user_id: Callable[..., str], address: Callable[[], str], clock: Any) -> Callable[[], Client]:
    """Return a maker of users with a password and a device, at an address of their own."""

    def make() -> Client:
        found = log_in(UserId(fresh_user_id()))
        accounts.set_password(UserId(found.user_id), passwords.hash_password(PASSWORD))
        found.source_ip = address()
        return found

    return make


@pytest.fixture
def user(make: Callable[[], Client]) -> Client:
    return make()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return each password that was compared with a hash."""
    seen: list[str] = []
    matches = passwords.matches

    def record(password: str, password_hash: str | None) -> bool:
        seen.append(password)
        return matches(password, password_hash)

    monkeypatch.setattr(passwords, "matches", record)
    return seen


def log_in_from(source_ip: str, user_id: str, password: str) -> Answer:
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user_id}}
    return Client(source_ip=source_ip).post(f"{V3}/login", {**body, "password": password})


def statuses(answers: list[Answer]) -> list[tuple[int, str]]:
    return [(answer.status, answer.json.get("errcode", "")) for answer in answers]


# -- The doors -------------------------------------------------------------------------------------------


def _login(user: Client, source_ip: str) -> Answer:
    return log_in_from(source_ip, user.user_id, "wrong")


def _founding_login(user: Client, source_ip: str) -> Answer:
    body = {"type": "m.login.password", "user": user.user_id, "password": "wrong"}
    return Client(source_ip=source_ip).post("/_matrix/client/api/v1/login", body)


def _new_password(user: Client, source_ip: str) -> Answer:
    body = {"new_password": "new", "auth": password_auth(user, "wrong")}
    return Client(source_ip=source_ip).post(f"{V3}/account/password", body)


def _deactivation(user: Client, source_ip: str) -> Answer:
    body = {"auth": password_auth(user, "wrong")}
    return Client(source_ip=source_ip).post(f"{V3}/account/deactivate", body)


def _page(user: Client, source_ip: str) -> Answer:
    session = Client().post(f"{V3}/account/deactivate").json["session"]
    form = f"user={user.user_id}&password=wrong".encode()
    return Client(source_ip=source_ip).request("POST", PAGE, form, session=session)


DOORS: dict[str, Door] = {
    "login": _login,
    "founding login": _founding_login,
    "new password": _new_password,
    "deactivation": _deactivation,
    "page": _page,
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_counts_by_account(door, user, address, hashed):
    answers = [DOORS[door](user, address()) for _ in range(BURST + 1)]
    assert [answer.status in (401, 403) for answer in answers] == [True] * BURST + [False]
    assert answers[-1].status == 429
    assert len(hashed) == BURST


@pytest.mark.parametrize("door", DOORS)
def test_every_door_counts_by_address(door, user, address, hashed):
    source_ip = address()
    for _ in range(LIMITS["login"].burst):
        rate_limits.check("login", source_ip)
    assert DOORS[door](user, source_ip).status == 429
    assert hashed == []


@pytest.mark.parametrize("door", DOORS)
def test_every_door_counts_for_unknown_users_too(door, fresh_user_id, address, clock, hashed):
    nobody = Client(user_id=fresh_user_id("nobody"))
    answers = [DOORS[door](nobody, address()) for _ in range(BURST + 1)]
    assert [answer.status == 429 for answer in answers] == [False] * BURST + [True]
    assert len(hashed) == BURST, "an unknown user takes a hash, as a known one does"


def test_the_session_of_a_registration_is_no_way_to_guess(fresh_name, address, hashed):
    """Whoever has it may repeat the registration, by the password; that is an attempt as any other."""
    body = {"username": fresh_name(), "password": PASSWORD}
    session = Client(source_ip=address()).post(f"{V3}/register", body).json["session"]
    auth = {"type": "m.login.dummy", "session": session}
    assert Client(source_ip=address()).post(f"{V3}/register", {**body, "auth": auth}).status == 200
    wrong = {**body, "password": "wrong", "auth": auth}
    answers = [Client(source_ip=address()).post(f"{V3}/register", wrong) for _ in range(BURST + 1)]
    assert [answer.status for answer in answers] == [400] * BURST + [429]
    assert len(hashed) == BURST


def test_passwords_are_compared_in_one_place():
    package = Path(passwords.__file__).parents[1]
    found = [path.name for path in package.rglob("*.py") if "passwords.matches(" in path.read_text()]
    assert found == ["credentials.py"]


@pytest.mark.parametrize("taken", [True, False])
def test_registering_tells_of_no_more_names_than_asking_for_them(taken, user, fresh_name, address):
    """A first request, which asks for nothing but which stages there are, says whether a name is taken."""
    source_ip = address()
    for _ in range(LIMITS["registration_query"].burst):
        rate_limits.check("registration_query", source_ip)
    name = user.user_id[1:].partition(":")[0] if taken else fresh_name()
    assert Client(source_ip=source_ip).post(f"{V3}/register", {"username": name}).status == 429
    assert Client(source_ip=source_ip).post(f"{V3}/register", {}).status == 401


def test_a_token_counts_for_itself(user, hashed):
    """Whoever has a token is known by it, but may not try more passwords than others."""
    device = f"{V3}/devices/OTHER"
    answers = [user.delete(device, {"auth": password_auth(user, "wrong")}) for _ in range(BURST + 1)]
    assert [answer.status for answer in answers] == [401] * BURST + [429]
    assert len(hashed) == BURST


def test_ones_own_token_tries_no_other_users_password(user, make, address, hashed):
    other = make()
    answer = user.delete(f"{V3}/devices/OTHER", {"auth": password_auth(other)})
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert hashed == []
    assert log_in_from(address(), other.user_id, PASSWORD).status == 200


# -- At once ---------------------------------------------------------------------------------------------


def test_guesses_at_once_with_the_right_one_last(user, address, monkeypatch):
    """All ten arrive before the first is hashed: the limit's number of them is looked at."""
    source_ip, all_refused = address(), threading.Event()
    admitted: list[str] = []
    refused: list[str] = []

    def matches(password: str, password_hash: str | None) -> bool:
        admitted.append(password)
        assert all_refused.wait(PATIENCE_S), "others were admitted, too"
        return password == PASSWORD

    monkeypatch.setattr(passwords, "matches", matches)

    def guess(password: str) -> int:
        status = log_in_from(source_ip, user.user_id, password).status
        if status == 429:
            refused.append(password)
        if len(refused) == 10 - BURST:
            all_refused.set()
        return status

    first = [f"wrong {number}" for number in range(BURST)]
    with ThreadPoolExecutor(10) as pool:
        early = [pool.submit(guess, password) for password in first]
        while len(admitted) < BURST:
            threading.Event().wait(0.005)
        late = [pool.submit(guess, password) for password in [*["wrong"] * (9 - BURST), PASSWORD]]
        assert [future.result(PATIENCE_S) for future in late] == [429] * (10 - BURST)
        assert [future.result(PATIENCE_S) for future in early] == [403] * BURST
    assert sorted(admitted) == first


def test_a_right_password_takes_nothing_from_the_account(user, address):
    for _ in range(3 * BURST):
        assert log_in_from(address(), user.user_id, PASSWORD).status == 200
    for _ in range(3 * LIMITS["login"].burst):
        assert user.delete(f"{V3}/devices/NONE", {"auth": password_auth(user)}).status == 200


# -- Known and unknown -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "identifier",
    [
        {"type": "m.id.user", "user": "@alice:elsewhere.example.org"},
        {"type": "m.id.user", "user": "not a name"},
        {"type": "m.id.user", "user": "x" * 3_000},
        {"type": "m.id.phone", "country": "GB", "phone": "0123"},
        {"type": "m.id.thirdparty", "medium": "email", "address": "nobody@example.org"},
    ],
)
def test_who_cannot_be_a_user_is_answered_as_a_user_is(identifier, user, address, hashed):
    body = {"type": "m.login.password", "password": "wrong"}
    stranger = [
        Client(source_ip=address()).post(f"{V3}/login", {**body, "identifier": identifier})
        for _ in range(BURST + 1)
    ]
    known = [log_in_from(address(), user.user_id, "wrong") for _ in range(BURST + 1)]
    assert statuses(stranger)[-1] == statuses(known)[-1] == (429, "M_LIMIT_EXCEEDED")
    assert [answer.json for answer in stranger[:-1]] == [answer.json for answer in known[:-1]]
    assert len(hashed) == 2 * BURST


def lock(user: Client, address: Callable[[], str]) -> None:
    """Try passwords from other addresses until the account is locked for them."""
    while log_in_from(address(), user.user_id, "wrong").status != 429:
        pass


def test_a_lock_holds_for_strangers(user, address, clock):
    lock(user, address)
    assert log_in_from(address(), user.user_id, PASSWORD).status == 429
    clock.advance(LIMITS["failed_login"].interval_ms)
    assert log_in_from(address(), user.user_id, PASSWORD).status == 200


def test_a_lock_does_not_hold_where_a_device_was_last_used(user, address):
    home = address()
    accounts.update_device(user.user_id, user.device_id, {"last_seen_ip": home})
    lock(user, address)
    same_network = home.replace("::1", ":1:2:3:4")
    assert log_in_from(same_network, user.user_id, PASSWORD).status == 200


def test_a_lock_does_not_hold_where_the_user_logged_in_before(user, address):
    home = address()
    token = log_in_from(home, user.user_id, PASSWORD).json["access_token"]
    Client(token).post(f"{V3}/logout/all")
    lock(user, address)
    assert log_in_from(home, user.user_id, PASSWORD).status == 200


def test_a_lock_does_not_hold_for_who_has_a_token(user, address):
    lock(user, address)
    assert user.delete(f"{V3}/devices/NONE", {"auth": password_auth(user)}).status == 200


def test_a_known_network_may_try_no_more_than_others(user, address, hashed):
    home = address()
    log_in_from(home, user.user_id, PASSWORD)
    lock(user, address)
    hashed.clear()
    answers = [log_in_from(home, user.user_id, "wrong") for _ in range(BURST + 1)]
    assert [answer.status for answer in answers] == [403] * BURST + [429]
    assert len(hashed) == BURST


def test_a_few_networks_are_remembered(user, address):
    places = [address() for _ in range(login_guesses.NETWORKS + 1)]
    for place in places:
        assert log_in_from(place, user.user_id, PASSWORD).status == 200
    account = accounts.read_account(user.user_id)
    assert account is not None
    assert account["login_networks"] == [rate_limits.network(place) for place in reversed(places[1:])]
    user.post(f"{V3}/account/deactivate", {"auth": password_auth(user)})
    assert "login_networks" not in (accounts.read_account(user.user_id) or {})
