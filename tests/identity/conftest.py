"""Rate limits switched on, a clock that stands still, and buckets that nobody has drawn from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from murmuration.identity import budgets, rate_limits
from murmuration.identity.rate_limits import Limit
from murmuration.settings import settings


class Clock:
    """The time that the buckets go by."""

    now = 1_700_000_000_000


@pytest.fixture
def limits_on(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Turn on budgets, but no limits by calls."""
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    monkeypatch.setattr(rate_limits, "LIMITS", dict.fromkeys(rate_limits.LIMITS, Limit(1000, 10_000)))
    settings.cache_clear()
    budgets.forget()
    yield
    monkeypatch.undo()
    settings.cache_clear()
    budgets.forget()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(budgets, "now_ms", lambda: clock.now)
    return clock
