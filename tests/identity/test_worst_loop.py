"""The costs of the worst loop within the limits in an hour, from the costs and charges of requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from murmuration.aws.calls import Answer, Call, Proceed
from murmuration.identity import budgets
from murmuration.settings import settings
from operators.costs.model import counts
from operators.costs.prices import PRICES
from tests.budgets import meter
from tests.budgets.meter import Meter, Spent
from tests.identity.buckets import spend_all, spent
from tests.identity.conftest import Clock
from tests.identity.loops import LOOPS, Loop
from tests.in_process import Client

REPETITIONS = 4
MOST_DOLLARS = 0.5
pytestmark = pytest.mark.usefixtures("limits_on")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "LATENCY_S", 0)


class WorkMeter(Meter):
    """Counts all requests but those that move a budget."""

    def _count(self, call: Call, proceed: Proceed) -> Answer:
        name = call.parameters.get("Key", {}).get("id", {}).get("S", "")
        return proceed(call) if name.startswith("limit#budget#") else super()._count(call, proceed)


def price(spent_on: Spent, requests: int) -> float:
    """Return the list price of the requests in microdollars, without the duration of functions."""
    each = {name: one.dollars * 1_000_000 / one.per for name, one in PRICES.items()}
    request = ("rest_requests", "cloudfront_requests", "cloudfront_functions", "lambda_requests")
    return (
        spent_on.read_units * each["dynamodb_reads"]
        + spent_on.write_units * each["dynamodb_writes"]
        + requests * sum(each[name] for name in request)
    )


def most_in_an_hour() -> float:
    """Return the microdollars that a bucket gives in an hour that begins with a full one."""
    return budgets.burst() + settings().hourly_budget


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.name)
def test_an_hour_of_a_loop(loop: Loop, clock: Clock, make_client: Callable[..., Client]):
    user, send = loop.prepare(make_client)
    assert send().status == 200
    budgets.forget()
    budgets._parts[user.user_id] = 0.0  # else it would begin at a random part of a quantum
    before = spent(user.user_id, clock.now)
    with WorkMeter() as counted:
        for _ in range(REPETITIONS):
            answer = send()
            assert answer.status == 200, answer.body
    charged = spent(user.user_id, clock.now) - before
    cost = price(counted.spent, REPETITIONS)
    assert charged >= cost * 0.95, f"{cost:.0f} microdollars were spent, {charged:.0f} charged"
    dollars = most_in_an_hour() * max(1.0, cost / charged) / 1_000_000
    assert dollars < MOST_DOLLARS


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.name)
def test_whose_budget_is_spent_is_refused(loop: Loop, clock: Clock, make_client: Callable[..., Client]):
    user, send = loop.prepare(make_client)
    spend_all(user.user_id)
    budgets._parts[user.user_id] = budgets.QUANTUM - 1
    answer = send()
    assert (answer.status, answer.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert answer.json["retry_after_ms"] > 0
    assert answer.headers["Retry-After"] == str(-(-answer.json["retry_after_ms"] // 1000))


def test_an_address_without_an_account_has_a_budget_too(clock: Clock, make_client: Callable[..., Client]):
    owner = budgets.address_owner(Client().source_ip)
    before = spent(owner, clock.now)
    assert Client().get("/_matrix/client/versions").status == 200
    assert spent(owner, clock.now) != before
    spend_all(owner)
    budgets._parts[owner] = budgets.QUANTUM - 1
    assert Client().get("/_matrix/client/versions").status == 429
    assert Client().get("/_matrix/client/v3/publicRooms").status == 429
    assert Client().get("/_matrix/media/v3/download/example.org/x").status == 429
    assert make_client().get("/_matrix/client/v3/account/whoami").status == 200, "has an account"


def test_a_wake_costs_no_more_than_it_is_charged_at():
    each = {name: one.dollars * 1_000_000 / one.per for name, one in PRICES.items()}
    ring = 2 * each["sqs_requests"] + each["dynamodb_reads"] + each["dynamodb_writes"]
    wake = counts(rooms=50, people=12).wake
    units = wake.reads * each["dynamodb_reads"] + wake.writes * each["dynamodb_writes"]
    request = budgets.REQUEST + each["dynamodb_writes"]
    assert ring + units + request <= budgets.WAKE
