"""Send delayed events whose time has come."""

from __future__ import annotations

from murmuration.endpoint.workers import queue_worker
from murmuration.protocol.encoding.shapes import JsonObject
from murmuration.rooms.delayed.delivery import deliver
from murmuration.rooms.delayed.orders import QUEUE


@queue_worker(QUEUE, fifo=False)
def handler(message: JsonObject) -> None:
    deliver(message)
