"""The fixtures of tests/accounts, for logins by stages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.accounts.conftest import clock, configure, fresh_name, offer, provider, register

__all__ = ["clock", "configure", "fresh_name", "offer", "provider", "register"]


@pytest.fixture
def limited(configure: Callable[..., None]) -> None:
    """Turn on rate limits. The test's address has full buckets."""
    from murmuration.identity import rate_limits

    configure(RATE_LIMITS="on")
    rate_limits._full.clear()
