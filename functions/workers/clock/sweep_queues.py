"""Ring the workers of queues with waiting messages whose rings got lost."""

from __future__ import annotations

from murmuration.delivery.sweeping import sweep
from murmuration.endpoint.workers import schedule_worker


@schedule_worker("rate(1 minute)")
def handler() -> None:
    sweep()
