"""Messages of the queue `delayed-events`, which are delayed until an event is due.

SQS delays a message by 15 minutes at most, and restarting an event doesn't change its message. So a worker
that gets a message too early orders it again. Each scheduled event has one message.
"""

from __future__ import annotations

from murmuration.aws import queues
from murmuration.clock import now_ms
from murmuration.storage.users.delayed_events import DelayedEvent

QUEUE = "delayed-events"
LONGEST_DELAY_S = 900
"""The longest delay of a message in SQS."""


def order(event: DelayedEvent) -> None:
    """Order a scheduled event to be sent when it is due."""
    wait_s = max(0, -(-(event.due_ms - now_ms()) // 1000))
    body = {"delay_id": event.delay_id, "user_id": event.user_id, "device_id": event.device_id}
    queues.send_later(QUEUE, body, min(LONGEST_DELAY_S, wait_s))
