"""Join a room that other servers are in, for a user whose request waits for it; or leave one later."""

from __future__ import annotations

from murmuration.endpoint.billing import user_billing
from murmuration.endpoint.workers import queue_worker
from murmuration.federation.membership.jobs import JoinMessage, run
from murmuration.federation.membership.joining import QUEUE
from murmuration.federation.membership.leaving import leave_again


@queue_worker(QUEUE, fifo=False, batch_size=1, federation=True)
def handler(message: JoinMessage) -> None:
    with user_billing(message["user_id"], QUEUE, memory_mb=2048):
        if "leave" in message:
            leave_again(message["user_id"], message["room_id"], message["leave"])
        else:
            run(message["user_id"], message["room_id"], message.get("again", 0))
