"""Call push gateways: tell phones of events, and how much is unread."""

from __future__ import annotations

from typing import Any

from murmuration.endpoint.workers import queue_worker
from murmuration.push.evaluation import QUEUE
from murmuration.push.gateways import deliver


@queue_worker(QUEUE, fifo=False)
def handler(message: dict[str, Any]) -> None:
    deliver(message)
