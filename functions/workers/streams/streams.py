"""Wake those who wait for receipts, typing, account data, to-device messages."""

from __future__ import annotations

from typing import Any

from murmuration.delivery.wakes import wake_for_stream_item
from murmuration.endpoint.workers import stream_worker


@stream_worker("streams")
def handler(item: dict[str, Any]) -> None:
    if "seq" in item:
        wake_for_stream_item(item)
