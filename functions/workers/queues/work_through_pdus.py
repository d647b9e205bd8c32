"""Process events that other servers sent, those of one room by one worker at a time."""

from __future__ import annotations

from murmuration.endpoint.billing import server_billing
from murmuration.endpoint.workers import queue_worker
from murmuration.federation.inbound.transactions.queueing import QUEUE
from murmuration.federation.inbound.transactions.working import origin_of, work
from murmuration.protocol.encoding.shapes import JsonObject


@queue_worker(QUEUE, batch_size=1, federation=True)
def handler(message: JsonObject) -> None:
    with server_billing(origin_of(message), QUEUE):
        work(message)
