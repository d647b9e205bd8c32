"""Order delayed events anew whose message in the queue was lost."""

from __future__ import annotations

from murmuration.endpoint.workers import schedule_worker
from murmuration.rooms.delayed.delivery import look_after


@schedule_worker("rate(5 minutes)")
def handler() -> None:
    look_after()
