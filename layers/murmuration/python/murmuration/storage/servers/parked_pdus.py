"""PDUs that can't be checked yet, until they can or until they expire (table `parked`).

They are in one partition, by room and event ID; the index `by-due` sorts them by the time of their next
attempt.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import StoredItem
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName

TABLE = "parked"
BY_DUE = "by-due"
KEPT_MS = 24 * 3_600_000
FIRST_MS = 5 * 60_000
_PDUS = "pdus"


@dataclass(frozen=True, slots=True)
class ParkedPdu:
    """A PDU that `origin` sent; `attempts` counts how often it was tried since it was parked."""

    room_id: RoomId
    event_id: EventId
    origin: ServerName
    pdu: Any
    due_ms: int
    attempts: int
    expires_ms: int

    @property
    def is_given_up(self) -> bool:
        """Whether it has been parked for the maximum time."""
        return self.expires_ms <= now_ms()


def park(room_id: RoomId, event_id: EventId, origin: ServerName, pdu: object) -> bool:
    """Park a PDU for later. Return False if it is parked already."""
    now = now_ms()
    item = {
        **_key(room_id, event_id),
        "room_id": room_id,
        "event_id": event_id,
        "origin": origin,
        "json": json.dumps(pdu, separators=(",", ":")),
        "due_ms": now + FIRST_MS,
        "attempts": 0,
        "expires": (now + KEPT_MS) // 1000,
    }
    return dynamodb.try_execute(dynamodb.put(TABLE, item, condition="attribute_not_exists(sk)"))


def read_due(limit: int) -> list[ParkedPdu]:
    """Return the PDUs to try now or to drop, the first due first."""
    items = dynamodb.query(
        TABLE,
        "pk = :pk AND due_ms <= :now",
        {":pk": _PDUS, ":now": now_ms()},
        index=BY_DUE,
        limit=limit,
    )
    return [_parse(item) for item in items]


def postpone(parked: ParkedPdu) -> bool:
    """Count an attempt and set the time of the next one, twice as far away. Returns False if another caller
    did.
    """
    write = dynamodb.update(
        TABLE,
        _key(parked.room_id, parked.event_id),
        "SET due_ms = :next, attempts = :attempts",
        values={
            ":next": now_ms() + (FIRST_MS << min(parked.attempts + 1, 8)),
            ":attempts": parked.attempts + 1,
            ":due": parked.due_ms,
        },
        condition="due_ms = :due",
    )
    return dynamodb.try_execute(write)


def remove(room_id: RoomId, event_id: EventId) -> None:
    """Delete a PDU that was accepted, rejected or given up."""
    dynamodb.execute(dynamodb.delete(TABLE, _key(room_id, event_id)))


def _parse(item: StoredItem) -> ParkedPdu:
    return ParkedPdu(
        item["room_id"],
        item["event_id"],
        item["origin"],
        json.loads(item["json"]),
        item["due_ms"],
        item["attempts"],
        item["expires"] * 1000,
    )


def _key(room_id: RoomId, event_id: EventId) -> dict[str, str]:
    return {"pk": _PDUS, "sk": f"{room_id}#{event_id}"}
