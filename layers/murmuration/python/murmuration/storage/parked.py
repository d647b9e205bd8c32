"""The table `parked`: what is tried again at a certain time. Each kind of thing has a partition."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.clock import DAY_MS, now_ms

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import Item
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName

TABLE = "parked"
BY_DUE = "by-due"
"""The index that sorts a partition by the time of the next attempt."""


def item_of(
    key: Mapping[str, str],
    room_id: RoomId,
    event_id: EventId,
    origin: ServerName,
    value: object,
    first_ms: int,
) -> Item:
    """Return the item of something that `origin` sent, which is first tried in `first_ms` and kept for a
    day.
    """
    now = now_ms()
    return {
        **key,
        "room_id": room_id,
        "event_id": event_id,
        "origin": origin,
        "json": json.dumps(value, separators=(",", ":")),
        "due_ms": now + first_ms,
        "attempts": 0,
        "expires": (now + DAY_MS) // 1000,
    }


def read_due(partition: str, limit: int) -> list[Item]:
    """Return the items to try now or to drop, the first due first."""
    return dynamodb.query(
        TABLE,
        "pk = :pk AND due_ms <= :now",
        {":pk": partition, ":now": now_ms()},
        index=BY_DUE,
        limit=limit,
    )


def postpone(key: Mapping[str, str], due_ms: int, attempts: int, delay_ms: int) -> bool:
    """Count an attempt, and set the time of the next one. Returns False if the item isn't due at `due_ms` any
    more: another caller postponed it, or something else is parked in its place.
    """
    write = dynamodb.update(
        TABLE,
        key,
        "SET due_ms = :next, attempts = :attempts",
        values={":next": now_ms() + delay_ms, ":attempts": attempts, ":due": due_ms},
        condition="due_ms = :due",
    )
    return dynamodb.try_execute(write)
