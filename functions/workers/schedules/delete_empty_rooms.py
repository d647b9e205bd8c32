"""Delete rooms that everybody left, after a grace period, and messages that are older than their rooms keep
them.
"""

from __future__ import annotations

from murmuration.endpoint.workers import schedule_worker
from murmuration.rooms.lifecycle.deletion import delete_empty_rooms
from murmuration.rooms.lifecycle.retention import purge_rooms

BUDGET_MS = 5 * 60 * 1000


@schedule_worker("rate(1 day)")
def handler() -> None:
    delete_empty_rooms(budget_ms=BUDGET_MS)
    purge_rooms(budget_ms=BUDGET_MS)
