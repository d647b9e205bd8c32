"""Call push gateways: notify phones of events, and send unread counts."""

from __future__ import annotations

from murmuration.endpoint.workers import queue_worker
from murmuration.protocol.encoding.shapes import JsonObject
from murmuration.push.gateways import deliver
from murmuration.push.ordering import QUEUE


@queue_worker(QUEUE, fifo=False)
def handler(message: JsonObject) -> None:
    deliver(message)
