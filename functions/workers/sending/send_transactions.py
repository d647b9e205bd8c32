"""Send events to other servers: new ones to many servers, or the backlog to one server."""

from __future__ import annotations

from murmuration.endpoint.workers import queue_worker
from murmuration.federation.outbound.pokes import OUTBOUND
from murmuration.federation.outbound.working import work
from murmuration.protocol.encoding.shapes import JsonObject


@queue_worker(OUTBOUND, batch_size=1, federation=True)
def handler(message: JsonObject) -> None:
    work(message)
