"""The clock that rings workers: rows with a time and a queue, and a `hand` row that keeps it running.

`aws.queues.ring_later` writes the rows. The table's stream calls a function for each change, a little later.
The function rings the workers that are due. If more is due soon, it updates the hand: that change calls it
again. So the clock costs nothing while nothing is due.

All items have one partition key, so they are in one shard of the stream, and one function at a time gets
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.aws.queues import CLOCK
from murmuration.clock import now_ms

HAND = {"pk": CLOCK, "sk": "hand"}
"""The hand's sort key comes after all times, so a query for times doesn't find it."""
MOST = 200


@dataclass(frozen=True, slots=True)
class Due:
    """A time at which a queue's worker is to be rung, in seconds since the epoch."""

    at_s: int
    queue: str

    @property
    def key(self) -> dict[str, str]:
        return {"pk": CLOCK, "sk": f"{self.at_s:012d}#{self.queue}"}


def read_due(until_s: int) -> list[Due]:
    """Return at most MOST rows that are due by a time, the earliest first."""
    items = dynamodb.query(
        CLOCK, "pk = :pk AND sk < :until", {":pk": CLOCK, ":until": f"{until_s + 1:012d}"}, limit=MOST
    )
    found = []
    for item in items:
        at, _, queue = item["sk"].partition("#")
        found.append(Due(int(at), queue))
    return found


def forget(rung: Sequence[Due]) -> None:
    """Delete the rows of workers that have been rung."""
    dynamodb.batch_write([dynamodb.delete(CLOCK, each.key) for each in rung])


def move_hand() -> None:
    """Make the clock's function be called again soon."""
    dynamodb.execute(dynamodb.put(CLOCK, {**HAND, "moved_ms": now_ms()}))
