"""Buckets that refill over time, with requests or with money (table `transient`).

A bucket's item has only the time at which it will be full (the generic cell rate algorithm), and expires
then. Amounts are given as the time that they need to refill.
"""

from __future__ import annotations

from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, StoredItem, Write

TABLE = "transient"
_KEPT_S = 3600


class Changed(Exception):
    """The bucket's level isn't the one that the caller assumed, or is too low.

    `full_ms` is the time at which it will be full; 0 if it is full.
    """

    def __init__(self, full_ms: int) -> None:
        super().__init__("the bucket has changed")
        self.full_ms = full_ms


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket. All its writes are conditional, so concurrent callers can't take more than it has."""

    name: str

    @property
    def key(self) -> dict[str, str]:
        """The key of the bucket's item."""
        return {"id": f"limit#{self.name}"}

    def take(self, amount_ms: int, now: int, *, full_ms: int, most_ms: int | None) -> int:
        """Take an amount that needs `amount_ms` to refill, and return when the bucket will be full.

        This is one write. `full_ms` is when it will be full, as far as the caller knows. `most_ms` is the
        latest allowed value of the new time; None lets the bucket go into debt. Raises Changed.
        """
        values = {":now": now, ":expires": (max(full_ms, now) + amount_ms) // 1000 + _KEPT_S}
        if full_ms <= now:
            expression = "SET full_ms = :full, expires = :expires"
            values[":full"] = now + amount_ms
            condition = "attribute_not_exists(full_ms) OR full_ms <= :now"
        else:
            expression = "SET full_ms = full_ms + :amount, expires = :expires"
            values[":amount"] = amount_ms
            condition = "full_ms > :now"
            if most_ms is not None:
                values[":most"] = most_ms
                condition += " AND full_ms <= :most"
        write = dynamodb.update(
            TABLE, self.key, expression, values=values, condition=condition, return_old=True
        )
        try:
            return full_ms_of(dynamodb.execute(write, returning="UPDATED_NEW")) or 0
        except ConditionFailed as error:
            raise Changed(full_ms_of(error.item()) or 0) from None

    def put_back(self, amount_ms: int, now: int) -> int | None:
        """Put back an amount, and return when the bucket will be full; None if it is full already."""
        write = dynamodb.update(
            TABLE,
            self.key,
            "SET full_ms = full_ms - :amount",
            values={":amount": amount_ms, ":now": now},
            condition="full_ms > :now",
        )
        try:
            return full_ms_of(dynamodb.execute(write, returning="UPDATED_NEW"))
        except ConditionFailed:
            return None

    def replace(self, before: int | None, full_ms: int) -> Write:
        """Return a write that moves the bucket from `before` (None: no item) to `full_ms`."""
        values = {":full": full_ms, ":expires": full_ms // 1000 + _KEPT_S}
        return dynamodb.update(
            TABLE,
            self.key,
            "SET full_ms = :full, expires = :expires",
            values=values if before is None else {**values, ":before": before},
            condition="attribute_not_exists(full_ms)" if before is None else "full_ms = :before",
            return_old=True,
        )


def full_ms_of(item: StoredItem | None) -> int | None:
    """Return when a bucket will be full, by its item; None without an item."""
    return int(item["full_ms"]) if item else None
