"""Rings the workers of queues for what a ring at once can't serve: messages held back, repeated, forgotten.

- A message that is held back has its time in the clock, which is kept going while something is due soon.
- A message that failed, or whose worker stopped, comes again after its visibility timeout; a ring may have
  got lost; an operator may have sent dead letters back. A sweep each minute finds all of these.

Everything may run twice and beside itself: a worker that is rung for nothing finds its queue empty.
"""

from __future__ import annotations

from murmuration.aws import queues
from murmuration.clock import now_ms
from murmuration.storage import clock

SOON_S = 75
"""The clock is kept going while something is due within this time, which is longer than from one sweep to the
next."""
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
        clock.forget(past)  # after the ring: who stops in between rings twice
    if len(past) < len(found):
        clock.move_hand()


def sweep() -> None:
    """Do what `turn` does, and ring the workers of all queues in which messages wait."""
    turn()
    for name in queues.in_use():
        waiting = queues.waiting(name)
        for _ in range(min(MOST_RINGS, -(-waiting // queues.BATCH_LIMIT))):
            queues.ring(name, queues.UNKNOWN)
