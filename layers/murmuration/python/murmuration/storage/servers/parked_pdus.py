"""PDUs that can't be checked yet, by room and event ID, until they can or until they expire."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import StoredItem
from murmuration.clock import now_ms
from murmuration.storage import parked

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName

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
    item = parked.item_of(_key(room_id, event_id), room_id, event_id, origin, pdu, FIRST_MS)
    return dynamodb.try_execute(dynamodb.put(parked.TABLE, item, condition="attribute_not_exists(sk)"))


def read_due(limit: int) -> list[ParkedPdu]:
    """Return the PDUs to try now or to drop, the first due first."""
    return [_parse(item) for item in parked.read_due(_PDUS, limit)]


def postpone(pdu: ParkedPdu) -> bool:
    """Count an attempt and set the time of the next one, twice as far away. Returns False if another caller
    did.
    """
    attempts = pdu.attempts + 1
    delay_ms = FIRST_MS << min(attempts, 8)
    return parked.postpone(_key(pdu.room_id, pdu.event_id), pdu.due_ms, attempts, delay_ms)


def remove(room_id: RoomId, event_id: EventId) -> None:
    """Delete a PDU that was accepted, rejected or given up."""
    dynamodb.execute(dynamodb.delete(parked.TABLE, _key(room_id, event_id)))


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
