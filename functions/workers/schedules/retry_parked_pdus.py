"""Try again what needs other servers: events that couldn't be judged, receipts of unknown events, and device
lists.
"""

from __future__ import annotations

from murmuration.endpoint.workers import schedule_worker
from murmuration.federation.devices.resyncing import retry_parked_lists
from murmuration.federation.ephemera.taking import retry_parked_receipts
from murmuration.federation.inbound.transactions.working import retry_parked


@schedule_worker("rate(1 minute)", federation=True)
def handler() -> None:
    retry_parked()
    retry_parked_receipts()
    retry_parked_lists()
