"""Ring the workers of queues that are due, and keep the clock running while more is due soon."""

from __future__ import annotations

from murmuration.delivery.sweeping import turn
from murmuration.endpoint.workers import Items, stream_worker


@stream_worker("clock", batch_window_s=2)
def handler(items: Items) -> None:  # noqa: ARG001 - that something changed is all they say
    turn()
