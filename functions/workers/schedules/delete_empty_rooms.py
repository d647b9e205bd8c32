"""Delete rooms that all users have left, messages older than their rooms allow, and unused files."""

from __future__ import annotations

from murmuration.endpoint.workers import schedule_worker
from murmuration.media.unused import delete_unused_media
from murmuration.rooms.lifecycle.deletion import delete_empty_rooms
from murmuration.rooms.lifecycle.retention import purge_rooms

BUDGET_MS = 4 * 60 * 1000


@schedule_worker("rate(1 day)")
def handler() -> None:
    delete_empty_rooms(budget_ms=BUDGET_MS)
    purge_rooms(budget_ms=BUDGET_MS)
    delete_unused_media(budget_ms=BUDGET_MS)
