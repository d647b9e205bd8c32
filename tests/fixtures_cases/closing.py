"""Accounts whose deactivation stopped halfway."""

from __future__ import annotations

from murmuration.accounts.management import CLOSING_MS
from tests.fixtures_cases import Cases

CASES = Cases("workers/closing", "carol_is_half_gone")

CASES.add(
    "finish_closing/nothing_is_left",
    "Carol's account was closed to its end: nothing is read but what waits.",
    "SCHEDULE",
    worlds="carol_deactivated",
)
CASES.add(
    "finish_closing/too_soon",
    "The request that closes Carol's account may still be running.",
    "SCHEDULE",
)
CASES.add(
    "finish_closing/finishes",
    "The request has stopped: Carol leaves the lounge, and what is stored of her goes.",
    "SCHEDULE",
    after=CLOSING_MS + 60_000,
)
