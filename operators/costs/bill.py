"""The bill of a month's usage, by service."""

from __future__ import annotations

from collections.abc import Mapping

from operators.costs.prices import PRICES


def bill(usage: Mapping[str, float], *, free_tier: bool) -> dict[str, float]:
    """Return dollars by service, in the order of the prices. Raises KeyError for a service without a
    price.
    """
    dollars = dict.fromkeys((price.service for price in PRICES.values()), 0.0)
    for name, units in usage.items():
        dollars[PRICES[name].service] += PRICES[name].of(units, free_tier=free_tier)
    return dollars


def bill_causes(causes: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return dollars by cause and service, at list prices: free amounts can't be divided by cause."""
    return {cause: bill(usage, free_tier=False) for cause, usage in causes.items()}
