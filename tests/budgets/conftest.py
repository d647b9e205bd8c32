"""Queues to wait on, and where counts are reported to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.budgets.meter import Spent
from tests.budgets.operations import Budget
from tests.sync.conftest import parked, sqs

__all__ = ["parked", "report", "sqs"]

COUNTS = pytest.StashKey[list[tuple[Budget, Spent]]]()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[Budget, Spent], None]:
    """Record what an operation spent, for the table that `python -m tests.budgets` prints."""
    counts = request.config.stash.setdefault(COUNTS, [])
    return lambda budget, spent: counts.append((budget, spent))
