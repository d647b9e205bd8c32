"""Read and empty buckets in tests."""

from __future__ import annotations

from murmuration.aws.reads import Read, fetch
from murmuration.identity import budgets
from murmuration.settings import settings
from murmuration.storage.buckets import TABLE, full_ms_of


def spent(owner: str, now: int) -> float:
    """Return the microdollars that were taken from a bucket, including those that this process hasn't written
    yet.
    """
    full_ms = fetch(Read(TABLE, budgets.bucket(owner).key, full_ms_of)) or now
    return max(0, full_ms - now) * settings().hourly_budget / budgets.HOUR_MS + budgets._parts.get(owner, 0.0)


def spend_all(owner: str) -> None:
    """Empty a bucket."""
    budgets.charge(owner, budgets.burst() + budgets.QUANTUM)
