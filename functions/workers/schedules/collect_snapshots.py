"""Delete nodes of state snapshots to which nothing refers."""

from __future__ import annotations

from murmuration.endpoint.workers import schedule_worker
from murmuration.rooms.lifecycle.collection import collect

BUDGET_MS = 10 * 60 * 1000


@schedule_worker("rate(1 day)")
def handler() -> None:
    collect(budget_ms=BUDGET_MS)
