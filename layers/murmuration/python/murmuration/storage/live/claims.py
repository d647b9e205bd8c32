"""Claims of transaction IDs: a repeated request returns the first one's event (table `transient`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import StoredItem, Write
from murmuration.aws.reads import Read
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId

TABLE = "transient"
LIFETIME_S = 86_400
CLAIM = "claim"
"""The name of a write that claims a transaction ID."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The event for which a transaction ID was used, and the events that were sent together with it."""

    event_id: EventId
    batch: tuple[EventId, ...] = ()


def read(name: str) -> Read[Claimed | None]:
    """Return the read of the claim with this name; its value is None if there is none."""
    return Read(TABLE, _key(name), parse)


def write(name: str, event_id: EventId | RoomId, *, batch: Sequence[str] = ()) -> Write:
    """Return a write that claims a transaction ID for an event. It is refused if it was claimed in the last
    day.

    `batch` are the events that are sent together, including this one.
    """
    now = now_ms() // 1000
    item = {**_key(name), "event_id": event_id, "expires": now + LIFETIME_S}
    return dynamodb.put(
        TABLE,
        {**item, "events": list(batch)} if batch else item,
        condition="attribute_not_exists(id) OR expires < :now",
        values={":now": now},
        return_old=True,
    ).named(CLAIM)


def parse(item: StoredItem | None) -> Claimed | None:
    """Return the claim in an item."""
    return Claimed(item["event_id"], tuple(item.get("events", ()))) if item else None


def _key(name: str) -> dict[str, str]:
    return {"id": f"txn#{name}"}
