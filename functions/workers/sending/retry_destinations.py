"""Queue attempts for servers that are owed something, and the sending of receipts that wait."""

from __future__ import annotations

from murmuration.endpoint.workers import schedule_worker
from murmuration.federation.ephemera.sending import send_waiting_receipts
from murmuration.federation.outbound.retrying import retry_due


@schedule_worker("rate(1 minute)", federation=True)
def handler() -> None:
    retry_due()
    send_waiting_receipts()
