"""Rings the workers of queues when the ring at queueing time isn't enough: for delayed, repeated and
forgotten messages.

- A delayed message has its time in the clock, which runs as long as something is due soon.
- A message that failed, or whose worker stopped, comes again after its visibility timeout; a ring may have
  got lost; an operator may have sent dead letters back. A sweep each minute finds all of these.

Every function here may run twice or concurrently: a worker that is rung without a message finds its queue
empty.
"""

from __future__ import annotations

from murmuration.aws import queues
from murmuration.clock import now_ms
from murmuration.storage import clock

SOON_S = 75
"""The clock keeps running while something is due within this time, which is longer than the time between two
sweeps."""
MOST_RINGS = 5
"""How many workers a sweep rings for one queue. Each goes on by itself while there is more."""


def turn() -> None:
    """Ring the workers that are due, and keep the clock going while more is due soon."""
    now_s = now_ms() // 1000
    found = clock.read_due(now_s + SOON_S)
    past = [each for each in found if each.at_s <= now_s]
    for name in dict.fromkeys(each.queue for each in past):
        queues.ring(name, queues.UNKNOWN)
    if past:
        clock.forget(past)  # after the ring: if this stops in between, it rings twice
    if len(past) < len(found):
        clock.move_hand()


def sweep() -> None:
    """Do what `turn` does, and ring the workers of all queues in which messages wait."""
    turn()
    for name in queues.in_use():
        waiting = queues.waiting(name)
        for _ in range(min(MOST_RINGS, -(-waiting // queues.BATCH_LIMIT))):
            queues.ring(name, queues.UNKNOWN)
