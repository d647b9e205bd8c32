"""Make large uploads, which CloudFront stored, the content of their media IDs, or delete them."""

from __future__ import annotations

from murmuration.endpoint.workers import queue_worker
from murmuration.media.incoming.settling import QUEUE, settle_all
from murmuration.protocol.encoding.shapes import JsonObject


@queue_worker(QUEUE, fifo=False, batch_size=1)
def handler(message: JsonObject) -> None:
    settle_all(message)
