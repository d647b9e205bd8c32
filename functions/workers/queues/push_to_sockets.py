"""Send updates to WebSockets, and record that closed ones are gone."""

from __future__ import annotations

from murmuration.delivery.sockets import push
from murmuration.delivery.wakes import PUSHES, SocketPush
from murmuration.endpoint.workers import queue_worker
from murmuration.presence import status


@queue_worker(PUSHES, fifo=False, once=True)
def handler(message: SocketPush) -> None:
    if "user_id" in message:
        status.leave(message["user_id"], [message["connection_id"]])
    else:
        push(message["connection_id"], message.get("rooms", ()))
