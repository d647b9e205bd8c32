"""Operations' requests to DynamoDB stay within their budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from local_cloud.aws.sqs import Sqs
from murmuration.identity import budgets as identity_budgets
from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import Limit
from murmuration.rooms.delayed.orders import QUEUE
from murmuration.settings import settings
from tests.budgets.meter import Spent
from tests.budgets.operations import BUDGETS, Budget
from tests.budgets.today import TODAY
from tests.in_process import Client

ATTEMPTS = 3
"""On a busy machine requests made at once may miss each other; the least counted is what was asked for."""

pytestmark = pytest.mark.usefixtures("sqs", "parked", "delays")


@pytest.fixture
def delays(sqs: Sqs) -> None:
    """Return the queue of delayed events."""
    make = sqs.operations()["CreateQueue"]
    make({"QueueName": settings().queue(QUEUE)})


@pytest.fixture(autouse=True)
def _limits_on(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Turn on rate limits, as in a deployment, but so that they don't refuse any stage's requests.

    The write that moves a quantum of a budget comes once in many requests; `tests/identity` counts it.
    """
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    monkeypatch.setattr(rate_limits, "LIMITS", dict.fromkeys(rate_limits.LIMITS, Limit(1000, 10_000)))
    monkeypatch.setattr(identity_budgets, "QUANTUM", 10**9)
    identity_budgets.forget()
    settings.cache_clear()
    yield
    monkeypatch.undo()
    identity_budgets.forget()
    settings.cache_clear()


@pytest.mark.parametrize("budget", [*BUDGETS, *TODAY], ids=lambda budget: budget.name)
def test_budget(
    budget: Budget, make_client: Callable[..., Client], report: Callable[[Budget, Spent], None]
) -> None:
    for _ in range(ATTEMPTS):
        spent = budget.measure(make_client)
        if not budget.excess(spent):
            break
    report(budget, spent)
    assert not budget.excess(spent), str(spent)
