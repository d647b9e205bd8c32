"""Wake those who wait for a room's new events."""

from __future__ import annotations

from murmuration.delivery.wakes import wake_for_log_entries
from murmuration.endpoint.workers import Items, stream_worker


@stream_worker("room-log")
def handler(items: Items) -> None:
    wake_for_log_entries(items)
