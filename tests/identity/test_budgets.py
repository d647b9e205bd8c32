"""Buckets of microdollars: shared by all processes, taken before the work, with few writes."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration.aws import dynamodb
from murmuration.identity import budgets
from murmuration.identity.budgets import BURST_MS, QUANTUM, burst, charge, in_ms, take
from murmuration.protocol.errors import LimitExceeded
from murmuration.settings import settings
from operators.costs.prices import PRICES
from tests.identity.buckets import spend_all, spent
from tests.identity.conftest import Clock

pytestmark = pytest.mark.usefixtures("limits_on")


@pytest.fixture
def owner(fresh_user_id: Callable[..., str]) -> str:
    return fresh_user_id("owner")


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the list of writes that are sent to the database."""
    sent: list[object] = []
    execute = dynamodb.execute

    def record(write, **options):
        sent.append(write)
        return execute(write, **options)

    monkeypatch.setattr(dynamodb, "execute", record)
    return sent


def test_prices_are_the_list_prices():
    millionth = {name: price.dollars * 1_000_000 / price.per for name, price in PRICES.items()}
    assert millionth["dynamodb_reads"] == pytest.approx(budgets.READ_UNIT)
    assert millionth["dynamodb_writes"] == pytest.approx(budgets.WRITE_UNIT - budgets.STORED_UNIT)
    month_of_a_kb = (millionth["dynamodb_gb"] + millionth["dynamodb_backup_gb"]) / 1024**2
    assert month_of_a_kb <= 2.2 * budgets.STORED_UNIT, "a KB takes at least two units"
    request = ("rest_requests", "cloudfront_requests", "cloudfront_functions", "lambda_requests")
    assert sum(millionth[name] for name in request) == pytest.approx(budgets.REQUEST)
    assert millionth["lambda_gb_seconds"] == pytest.approx(budgets.GB_SECOND)
    assert millionth["sqs_requests"] == pytest.approx(budgets.QUEUE_REQUEST)
    assert millionth["s3_puts"] == pytest.approx(budgets.OBJECT_PUT)
    assert millionth["s3_gets"] == pytest.approx(budgets.OBJECT_GET)
    assert millionth["s3_gb"] / 1024**2 <= budgets.OBJECT_KB
    assert millionth["cloudfront_gb"] / 1024**2 <= budgets.SENT_KB


def test_what_is_taken_is_counted_exactly(clock: Clock, owner: str):
    for _ in range(100):
        take(owner, 7.5)
    begun = spent(owner, clock.now) - 750
    assert 0 <= begun < QUANTUM, "a process begins within a quantum"


def test_a_bucket_is_refused_when_it_is_empty_and_fills_again(clock: Clock, owner: str):
    spend_all(owner)
    with pytest.raises(LimitExceeded) as refusal:
        take(owner, QUANTUM)
    wait_ms = refusal.value.fields["retry_after_ms"]
    assert in_ms(QUANTUM) <= wait_ms <= in_ms(3 * QUANTUM)
    clock.now += wait_ms + budgets.REFUSAL_MS
    take(owner, QUANTUM)


def test_an_hour_allows_no_more_than_a_burst_and_what_comes_back(clock: Clock, owner: str):
    taken = 0
    end = clock.now + 3_600_000
    while clock.now < end:
        try:
            take(owner, 1000)
        except LimitExceeded as refusal:
            clock.now += max(1000, refusal.fields["retry_after_ms"])
        else:
            taken += 1000
    most = burst() + settings().hourly_budget
    assert most - 5000 <= taken <= most + 2000


def test_nothing_is_lost_of_what_is_refused(clock: Clock, owner: str):
    spend_all(owner)
    before = spent(owner, clock.now)
    for _ in range(10):
        with pytest.raises(LimitExceeded):
            take(owner, QUANTUM)
    assert spent(owner, clock.now) == pytest.approx(before)


def test_a_process_that_knows_of_a_refusal_asks_nobody(clock: Clock, owner: str, writes: list[object]):
    spend_all(owner)
    with pytest.raises(LimitExceeded):
        take(owner, QUANTUM)
    asked = len(writes)
    with pytest.raises(LimitExceeded):
        take(owner, QUANTUM)
    assert len(writes) == asked


def test_many_at_once_take_no_more_than_there_is(clock: Clock, owner: str):
    amount = burst() // 10

    def attempt(_: int) -> bool:
        try:
            take(owner, amount)
        except LimitExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(40))) in (9, 10)


def test_what_was_too_much_comes_back(clock: Clock, owner: str):
    take(owner, 20_000)
    before = spent(owner, clock.now)
    charge(owner, -15_000)
    assert spent(owner, clock.now) == pytest.approx(before - 15_000, abs=1)


def test_giving_back_to_a_full_bucket_makes_it_no_fuller(clock: Clock, owner: str):
    take(owner, 20_000)
    clock.now += 3_600_000
    charge(owner, -20_000)
    assert spent(owner, clock.now) < QUANTUM


def test_what_was_spent_already_makes_a_debt(clock: Clock, owner: str):
    charge(owner, 2 * burst())
    with pytest.raises(LimitExceeded) as refusal:
        take(owner, QUANTUM)
    assert refusal.value.fields["retry_after_ms"] >= BURST_MS


def test_small_amounts_take_a_write_for_each_quantum_only(clock: Clock, owner: str, writes: list[object]):
    for _ in range(200):
        take(owner, 10)
    assert len(writes) <= 200 * 10 // QUANTUM + 1


def test_processes_that_end_at_once_take_the_same_in_expectation(
    clock: Clock, owner: str, monkeypatch: pytest.MonkeyPatch
):
    """New processes don't let a user exceed the budget."""
    monkeypatch.setattr(budgets, "random", random.Random(7))
    for _ in range(1000):
        budgets._parts.clear()
        take(owner, 25)
    budgets._parts.clear()
    assert spent(owner, clock.now) == pytest.approx(25_000, rel=0.25)


def test_owners_are_apart(clock: Clock, owner: str):
    spend_all(owner)
    take(owner + "2", QUANTUM)


def test_nothing_is_taken_where_rates_are_not_limited(
    monkeypatch: pytest.MonkeyPatch, owner: str, writes: list[object]
):
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "off")
    settings.cache_clear()
    charge(owner, 10 * burst())
    with budgets.billing("route") as bill:
        assert bill is None
        budgets.charge_to(owner)
        budgets.expect(10 * burst())
    assert writes == []


def test_addresses_of_ipv6_share_a_bucket_by_64_bits():
    same = {budgets.address_owner("2001:db8::1"), budgets.address_owner("2001:db8::ffff:1")}
    assert len(same) == 1
    assert budgets.address_owner("2001:db8:0:1::1") not in same
    assert budgets.address_owner("192.0.2.1") != budgets.address_owner("192.0.2.2")
