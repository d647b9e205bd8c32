"""Tell connections what is new."""

from __future__ import annotations

from typing import Any

from murmuration.delivery.sockets import push
from murmuration.delivery.wakes import PUSHES
from murmuration.endpoint.workers import queue_worker


@queue_worker(PUSHES, fifo=False, once=True)
def handler(message: dict[str, Any]) -> None:
    push(message["connection_id"])
