"""Waiting for news: a listener is registered, the streams are looked at once more, then a queue is waited on.

Whoever registered before it looked can't miss anything: an event is either seen by that look, or written
after the registration, so that the Streams worker finds the listener and rings. A ring is a hint and no
more: what is sent to the client always comes from a look at the streams.
"""

from __future__ import annotations

import time

from murmuration.clock import now_ms
from murmuration.storage import listeners, wake_queues
from murmuration.sync.first_look import FirstLook
from murmuration.sync.positions import Positions


def listen(first: FirstLook) -> bool:
    """Make sure that the device is registered; True if it was before the first look."""
    requester = first.requester
    registered_until = listeners.registered_until(first.listener, requester.device_id)
    if registered_until > now_ms() // 1000 + listeners.RENEW_S:
        return True
    wake_queues.ensure(requester.user_id, requester.device_id)
    listeners.register(requester.user_id, requester.device_id)
    return False


def wait(first: FirstLook, positions: Positions, deadline: float) -> None:
    """Return when the device's queue rings, typing that was shown ends, or at the deadline (monotonic)."""
    seconds = deadline - time.monotonic()
    ends = [until for until in positions.typing_until_ms.values() if until > 0]
    if ends:
        seconds = min(seconds, max(0.0, (min(ends) - now_ms()) / 1000))
    if seconds > 0:
        wake_queues.wait(first.requester.user_id, first.requester.device_id, seconds)
