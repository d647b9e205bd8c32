"""The queue of PDUs. Each room is a group in it, so that one worker at a time processes the room's PDUs.

A message has PDUs of one room from one server, or receipts that arrived before their events. Every message
has a new deduplication ID, so SQS never drops one as a duplicate: a PDU that comes twice is recognised by its
event ID.
"""

from __future__ import annotations

import functools
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.aws import queues
from murmuration.aws.concurrency import parallel

if TYPE_CHECKING:
    from murmuration.federation.shapes import PdusMessage, ReceiptsMessage
    from murmuration.protocol.identifiers import RoomId, ServerName
    from murmuration.storage.json_types import StoredReceipt

QUEUE = "room-pdus"
MOST_MESSAGE_BYTES = 240_000
"""SQS allows larger messages in most regions; all of them allow 256 KB."""
MOST_PDU_BYTES = 200_000
"""A PDU of 64 KB takes up to three times as many bytes in ASCII. A larger value can't be a PDU."""


def put(origin: ServerName, by_room: Mapping[RoomId, Sequence[object]], *, parked: bool = False) -> int:
    """Queue PDUs by their room. Returns how many were left out because they are too large or aren't JSON.

    `parked` says that they are also stored in the table of parked PDUs. Raises the errors of SQS.
    """
    left_out = 0
    sends = []
    for room_id, pdus in by_room.items():
        fitting = [(pdu, size) for pdu in pdus if (size := _size(pdu)) is not None]
        left_out += len(pdus) - len(fitting)
        parts = list(_parts(fitting))
        if parts:
            sends.append(functools.partial(_send, origin, room_id, parts, parked))
    parallel(*sends)
    return left_out


def _send(origin: ServerName, room_id: RoomId, parts: Sequence[Sequence[object]], parked: bool) -> None:
    for pdus in parts:
        body: PdusMessage = {"origin": origin, "room_id": room_id, "pdus": pdus}
        if parked:
            body["parked"] = True
        queues.send(QUEUE, body, group=group_of(room_id), dedup=uuid.uuid4().hex)


def put_receipts(
    origin: ServerName, room_id: RoomId, receipts: Sequence[StoredReceipt], *, parked: bool = False
) -> None:
    """Queue receipts behind the PDUs of their room. `parked` says that they are also stored in the table of
    what is parked. Raises the errors of SQS.
    """
    body: ReceiptsMessage = {"origin": origin, "room_id": room_id, "receipts": receipts}
    if parked:
        body["parked"] = True
    queues.send(QUEUE, body, group=group_of(room_id), dedup=uuid.uuid4().hex)


def group_of(topic: str) -> str:
    """Return the group of a room, or of another topic, in the queue.

    It is a hash, because SQS doesn't accept all room IDs as names of groups.
    """
    return hashlib.sha256(topic.encode("utf-8", "surrogatepass")).hexdigest()


def _parts(fitting: Sequence[tuple[object, int]]) -> Iterator[list[object]]:
    part: list[object] = []
    total = 0
    for pdu, size in fitting:
        if part and total + size > MOST_MESSAGE_BYTES - 2_000:
            yield part
            part, total = [], 0
        part.append(pdu)
        total += size + 1
    if part:
        yield part


def _size(pdu: object) -> int | None:
    """Return the size of a PDU in a message, in bytes; None if it is too large or can't be encoded."""
    try:
        size = len(json.dumps(pdu, separators=(",", ":"), allow_nan=False))
    except (ValueError, RecursionError):
        return None
    return size if size <= MOST_PDU_BYTES else None
