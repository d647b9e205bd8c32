"""Send delayed events whose time has come."""

from __future__ import annotations

from typing import Any

from murmuration.endpoint.workers import queue_worker
from murmuration.rooms.delayed.delivery import deliver
from murmuration.rooms.delayed.orders import QUEUE


@queue_worker(QUEUE, fifo=False)
def handler(message: dict[str, Any]) -> None:
    deliver(message)
