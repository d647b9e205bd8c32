"""Have servers to which something is owed tried again when their time has come."""

from __future__ import annotations

from murmuration.endpoint.workers import schedule_worker
from murmuration.federation.outbound.retrying import retry_due


@schedule_worker("rate(1 minute)")
def handler() -> None:
    retry_due()
