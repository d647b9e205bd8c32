"""Wake those who wait for a room's new events."""

from __future__ import annotations

from typing import Any

from murmuration.delivery.wakes import wake_for_log_entry
from murmuration.endpoint.workers import stream_worker


@stream_worker("room-log")
def handler(item: dict[str, Any]) -> None:
    wake_for_log_entry(item)
