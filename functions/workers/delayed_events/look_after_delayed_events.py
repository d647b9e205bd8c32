"""Queue a new message for delayed events whose message was lost."""

from __future__ import annotations

from murmuration.endpoint.workers import schedule_worker
from murmuration.rooms.delayed.delivery import look_after


@schedule_worker("rate(5 minutes)")
def handler() -> None:
    look_after()
