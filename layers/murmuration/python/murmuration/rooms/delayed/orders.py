"""Orders to send a delayed event: messages of the queue `delayed-events` that are held back until its time.

SQS holds a message back for 15 minutes at most, and a restart moves the time without touching the message. So
whoever gets a message before the event's time orders it anew. There is one message for each scheduled event.
"""

from __future__ import annotations

from murmuration.aws import queues
from murmuration.clock import now_ms
from murmuration.storage.users.delayed_events import DelayedEvent

QUEUE = "delayed-events"
LONGEST_DELAY_S = 900
"""The longest time that SQS holds a message back."""


def order(event: DelayedEvent) -> None:
    """Order a scheduled event to be sent when its time has come, not before."""
    wait_s = max(0, -(-(event.due_ms - now_ms()) // 1000))
    body = {"delay_id": event.delay_id, "user_id": event.user_id, "device_id": event.device_id}
    queues.send_later(QUEUE, body, min(LONGEST_DELAY_S, wait_s))
