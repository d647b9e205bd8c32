"""Try again the events of other servers that could not be judged before."""

from __future__ import annotations

from murmuration.endpoint.workers import schedule_worker
from murmuration.federation.inbound.transactions.working import retry_parked


@schedule_worker("rate(1 minute)")
def handler() -> None:
    retry_parked()
