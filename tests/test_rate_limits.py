"""Limits hold over all processes together, and cost one write a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.aws.reads import fetch
from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import LIMITS, Taking, check, give_back, network
from murmuration.protocol.errors import LimitExceeded
from murmuration.settings import settings
from tests.in_process import Client
from tests.rooms.people import create_room, path

pytestmark = pytest.mark.usefixtures("deployment")

KIND = "message"
LIMIT = LIMITS[KIND]


class Clock:
    now = 1_700_000_000_000


@pytest.fixture(autouse=True)
def limits_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    rate_limits._full.clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()
    rate_limits._full.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limits, "now_ms", lambda: clock.now)
    return clock


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return each write that is sent to the database."""
    sent: list[object] = []
    execute = dynamodb.execute

    def record(write, **options):
        sent.append(write)
        return execute(write, **options)

    monkeypatch.setattr(dynamodb, "execute", record)
    return sent


@pytest.fixture
def key(fresh_user_id: Callable[..., str]) -> str:
    return fresh_user_id()


def take_all(key: str) -> None:
    for _ in range(LIMIT.burst):
        check(KIND, key)


def test_a_burst_is_allowed_and_then_one_request_an_interval(clock, key):
    take_all(key)
    for _ in range(2):
        with pytest.raises(LimitExceeded) as refusal:
            check(KIND, key)
        assert refusal.value.fields["retry_after_ms"] == LIMIT.interval_ms == 5000
    clock.now += LIMIT.interval_ms - 1
    with pytest.raises(LimitExceeded) as refusal:
        check(KIND, key)
    assert refusal.value.fields["retry_after_ms"] == 1
    clock.now += 1
    check(KIND, key)
    with pytest.raises(LimitExceeded):
        check(KIND, key)


def test_the_bucket_never_holds_more_than_the_burst(clock, key):
    check(KIND, key)
    clock.now += 1000 * LIMIT.interval_ms
    take_all(key)
    with pytest.raises(LimitExceeded):
        check(KIND, key)


def test_keys_and_kinds_are_apart(clock, key):
    take_all(key)
    check(KIND, key + "2")
    check("join", key)


def test_one_process_needs_one_write_a_request(clock, key, writes):
    take_all(key)
    assert len(writes) == LIMIT.burst
    clock.now += 1000 * LIMIT.interval_ms
    check(KIND, key)
    assert len(writes) == LIMIT.burst + 1


def test_processes_that_know_nothing_of_each_other_share_the_bucket(clock, key, writes):
    for _ in range(LIMIT.burst):
        rate_limits._full.clear()
        check(KIND, key)
    rate_limits._full.clear()
    with pytest.raises(LimitExceeded):
        check(KIND, key)
    assert len(writes) <= 2 * LIMIT.burst


def test_a_process_that_took_the_bucket_for_full_learns_better(clock, key):
    take_all(key)
    clock.now += 1000 * LIMIT.interval_ms
    rate_limits._full[KIND, key] = clock.now + LIMIT.interval_ms
    check(KIND, key)
    assert rate_limits._full[KIND, key] == clock.now + LIMIT.interval_ms


def test_many_at_once_get_no_more_than_the_burst(clock, key):
    def attempt(_: int) -> bool:
        try:
            check(KIND, key)
        except LimitExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        allowed = sum(pool.map(attempt, range(40)))
    assert LIMIT.burst <= allowed <= LIMIT.burst + 2


def test_what_is_given_back_can_be_taken_again(clock, key):
    take_all(key)
    give_back(KIND, key, clock.now)
    check(KIND, key)
    with pytest.raises(LimitExceeded):
        check(KIND, key)


def test_giving_back_never_makes_more_than_the_burst(clock, key):
    give_back(KIND, key, clock.now)
    taken_ms = check(KIND, key)
    clock.now += LIMIT.interval_ms
    take_all(key)
    give_back(KIND, key, taken_ms)  # what was taken has come back by itself
    with pytest.raises(LimitExceeded):
        check(KIND, key)


def test_what_cannot_be_taken_for_sure_is_refused(clock, key, monkeypatch):
    def contended(write, **options):
        raise ConditionFailed

    monkeypatch.setattr(dynamodb, "execute", contended)
    with pytest.raises(LimitExceeded):
        check(KIND, key)


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("[2001:db8:1:3::1]", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_the_network_of_an_address(address, counts_as):
    assert network(address) == counts_as


def test_addresses_of_one_network_share_a_bucket(clock, key):
    digest = sha256(key.encode()).hexdigest()
    prefix = f"2001:{digest[:4]}:{digest[4:8]}:{digest[8:12]}"
    for number in range(LIMITS["registration"].burst):
        check("registration", f"{prefix}:{number}::1")
    with pytest.raises(LimitExceeded):
        check("registration", f"{prefix}:ffff::1")


def test_the_item_expires(clock, key):
    take_all(key)
    item = dynamodb.get("transient", {"id": f"limit#{KIND}#{key}"})
    assert item is not None
    assert item["expires"] * 1000 > item["full_ms"]


def test_nothing_is_limited_where_limits_are_off(monkeypatch, key, writes):
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "off")
    settings.cache_clear()
    take_all(key)
    take_all(key)
    give_back(KIND, key, check(KIND, key))
    assert writes == []


# -- Where they apply ------------------------------------------------------------------------------------


def test_login_is_limited_by_address(clock, key):
    body = {"type": "m.login.password", "user": key, "password": "x"}
    # Another account each time: it's the address that is limited here.
    answers = [
        Client().post("/_matrix/client/v3/login", {**body, "user": f"{key[1:].partition(':')[0]}-{number}"})
        for number in range(LIMITS["login"].burst + 1)
    ]
    assert [answer.status for answer in answers] == [403] * LIMITS["login"].burst + [429]
    last = answers[-1]
    assert last.json["errcode"] == "M_LIMIT_EXCEEDED"
    assert last.json["retry_after_ms"] > 0
    assert last.headers["Retry-After"] == str(-(-last.json["retry_after_ms"] // 1000))


def test_failures_lock_an_account_even_for_the_right_password(clock, monkeypatch, key):
    from murmuration.accounts.credentials import prove_by_password
    from murmuration.accounts.registration import create_account
    from murmuration.protocol.errors import Forbidden

    user_id = create_account(key[1:].partition(":")[0], "right")
    for _ in range(LIMITS["failed_login"].burst):
        prove_by_password({"user": user_id, "password": "right"})
        with pytest.raises(Forbidden):
            prove_by_password({"user": user_id, "password": "wrong"})
    with pytest.raises(LimitExceeded):
        prove_by_password({"user": user_id, "password": "right"})
    clock.now += LIMITS["failed_login"].interval_ms
    prove_by_password({"user": user_id, "password": "right"})


def test_registration_is_limited_by_address(clock, key):
    body = {"username": "", "password": "x"}
    statuses = []
    for number in range(LIMITS["registration"].burst + 1):
        name = f"{key[1:].partition(':')[0]}-{number}"
        assert Client().post("/_matrix/client/v3/register", {**body, "username": name}).status == 401
        auth = {"type": "m.login.dummy"}
        answer = Client().post("/_matrix/client/v3/register", {**body, "username": name, "auth": auth})
        statuses.append(answer.status)
    assert statuses == [200] * LIMITS["registration"].burst + [429]


def test_changes_of_a_profile_are_limited(clock, make_client):
    user = make_client()
    where = f"/_matrix/client/v3/profile/{user.user_id}/m.tz"
    statuses = [user.put(where, {"m.tz": "UTC"}).status for _ in range(LIMITS["profile"].burst)]
    assert statuses == [200] * LIMITS["profile"].burst
    assert user.delete(where).status == 429


def test_bans_and_their_lifting_are_limited(clock, make_client):
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice)
    statuses = [
        alice.post(path(room_id, change), {"user_id": bob.user_id}).status
        for _ in range(LIMITS["moderation"].burst // 2)
        for change in ("ban", "unban")
    ]
    assert statuses == [200] * LIMITS["moderation"].burst
    for change in ("kick", "ban", "unban"):
        assert alice.post(path(room_id, change), {"user_id": bob.user_id}).status == 429


def test_an_upgrade_counts_as_a_room_that_is_made(clock, make_client):
    alice = make_client("alice")
    room_id = [create_room(alice) for _ in range(LIMITS["room_creation"].burst)][-1]
    assert alice.post(path(room_id, "upgrade"), {"new_version": "12"}).status == 429


# -- Taken in a transaction with other writes ------------------------------------------------------------


def take_along(taking: Taking, *more: dynamodb.Write) -> None:
    """Take a request together with `more`."""
    taking.settle(lambda: dynamodb.transact([*more, *taking.writes()]))


def read(key: str) -> Taking:
    """Return a taking that knows the bucket's level."""
    taking = Taking(KIND, key)
    assert taking.read is not None
    fetch(taking.read)
    return taking


def test_taking_along_and_taking_draw_on_the_same_bucket(clock, key):
    for _ in range(LIMIT.burst - 1):
        take_along(read(key))
    check(KIND, key)
    for refused in (lambda: take_along(read(key)), lambda: check(KIND, key)):
        with pytest.raises(LimitExceeded) as refusal:
            refused()
        assert refusal.value.fields["retry_after_ms"] == LIMIT.interval_ms
    clock.now += LIMIT.interval_ms
    take_along(read(key))


def test_what_was_known_of_a_bucket_may_be_out_of_date(clock, key):
    stale = [read(key) for _ in range(LIMIT.burst + 1)]
    for taking in stale[:-1]:
        take_along(taking)
    with pytest.raises(LimitExceeded):
        take_along(stale[-1])


def test_taking_along_at_once_takes_no_more_than_there_is(clock, key):
    takings = [read(key) for _ in range(LIMIT.burst + 4)]

    def take(taking: Taking) -> bool:
        try:
            take_along(taking)
        except LimitExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, takings)) == LIMIT.burst


def test_nothing_is_taken_where_another_write_refuses(clock, key):
    refused = dynamodb.put("transient", {"id": f"{key}-other"}, condition="attribute_exists(id)")
    with pytest.raises(ConditionFailed):
        take_along(read(key), refused)
    assert read(key).writes() == Taking(KIND, key).writes()


def test_nothing_is_read_or_written_without_limits(key, monkeypatch):
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "off")
    settings.cache_clear()
    taking = Taking(KIND, key)
    assert (taking.read, taking.writes()) == (None, [])
