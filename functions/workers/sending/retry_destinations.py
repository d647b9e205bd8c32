"""Queue attempts for servers that are behind, and the sending of waiting receipts."""

from __future__ import annotations

from murmuration.endpoint.workers import schedule_worker
from murmuration.federation.ephemera.sending import send_waiting_receipts
from murmuration.federation.outbound.retrying import retry_due


@schedule_worker("rate(1 minute)", federation=True)
def handler() -> None:
    retry_due()
    send_waiting_receipts()
