"""Wake those who wait for receipts, typing, account data, to-device messages; tell of presence."""

from __future__ import annotations

from murmuration.delivery.wakes import wake_for_stream_items
from murmuration.endpoint.workers import Items, stream_worker
from murmuration.presence.telling import tell


@stream_worker("streams")
def handler(items: Items) -> None:
    wake_for_stream_items(items)
    tell(items)
