"""The fixtures of tests/accounts, for logins by stages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.accounts.conftest import clock, configure, fresh_name, offer, provider, register

__all__ = ["clock", "configure", "fresh_name", "offer", "provider", "register"]


@pytest.fixture
def limited(configure: Callable[..., None]) -> None:
    """Turn on rate limits, with full buckets for the tests' address."""
    from murmuration.aws import dynamodb
    from murmuration.identity import rate_limits
    from murmuration.storage import buckets

    configure(RATE_LIMITS="on")
    keys = [rate_limits.bucket(kind, "127.0.0.1").key for kind in rate_limits.LIMITS]
    dynamodb.batch_write([dynamodb.delete(buckets.TABLE, key) for key in keys])
    rate_limits._full.clear()
