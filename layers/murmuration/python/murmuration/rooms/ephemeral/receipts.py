"""Receipts and read markers: how far a user has read.

A receipt is one item for each room, type, thread and user. Public receipts are in the room's stream, private
ones in the user's own. A receipt only moves forward.
https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item
from murmuration.aws.reads import Batch, fetch
from murmuration.clock import now_ms
from murmuration.identity.authentication import verify
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.encoding.shapes import Body, JsonObject
from murmuration.protocol.errors import InvalidParam, NotFound, TooLarge
from murmuration.protocol.event_types import FULLY_READ
from murmuration.rooms.lookup import find_entry, fits_id
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.reading.threads import is_in_thread
from murmuration.rooms.room import Room
from murmuration.storage import counts
from murmuration.storage.live import streams
from murmuration.storage.live.receipts import (
    PRIVATE,
    READ,
    Receipt,
    count_key,
    receipt_read,
    receipts_among,
)
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.users import account_data, accounts, memberships

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import EventId, RoomId, UserId
    from murmuration.storage.json_types import ReceiptData

TYPES = (READ, PRIVATE, FULLY_READ)
DELIVERED = "m.delivered"
"""The type of receipts for delivered messages. Only version 2 of the client API has it."""


MOST = 5_000
"""How many receipts in threads a user may have in a room. Public and private ones are counted separately."""


def send_receipt(
    token: AccessToken, room_id: RoomId, receipt_type: str, event_id: EventId, body: Body
) -> None:
    """Move one receipt, or the read marker, to an event.

    Raises UnknownToken, Forbidden, NotFound for an event that the room doesn't have, InvalidParam for an
    unknown type or a thread that the event isn't in, TooLarge for receipts in too many threads.
    """
    if receipt_type not in TYPES:
        raise InvalidParam(f"The receipt type must be one of {', '.join(TYPES)}")
    thread_id = _parse_thread_id(body, receipt_type)
    requester, room, places = _open(token, room_id, [event_id])
    if thread_id is not None:
        entry = find_entry(room, event_id)
        if entry is None or not is_in_thread(room, entry, thread_id):
            raise InvalidParam("The event is not in the thread that thread_id names")
    move_receipt(requester.user_id, room_id, receipt_type, event_id, places[event_id], thread_id)


def set_read_markers(token: AccessToken, room_id: RoomId, body: Body) -> None:
    """Move the read marker and the unthreaded receipts that `body` names, each to the event it names.

    Raises UnknownToken, Forbidden, NotFound for an event that the room doesn't have, InvalidParam.
    """
    wanted = {name: body[name] for name in TYPES if body.get(name) is not None}
    for name, event_id in wanted.items():
        if not isinstance(event_id, str):
            raise InvalidParam(f"{name} must be an event ID")
    requester, _, places = _open(token, room_id, list(wanted.values()))
    concurrency.parallel(
        *(
            functools.partial(
                move_receipt, requester.user_id, room_id, name, event_id, places[event_id], None
            )
            for name, event_id in wanted.items()
        )
    )


def mark_up_to(token: AccessToken, room_id: RoomId, receipt_type: str, event_id: EventId) -> None:
    """Move one receipt to an event; `receipt_type` is READ or DELIVERED.

    Raises UnknownToken, Forbidden, NotFound for an event that the room doesn't have.
    """
    requester, _, places = _open(token, room_id, [event_id])
    move_receipt(requester.user_id, room_id, receipt_type, event_id, places[event_id], None)


def _parse_thread_id(body: Body, receipt_type: str) -> str | None:
    if "thread_id" not in body:
        return None
    thread_id = body["thread_id"]
    if not isinstance(thread_id, str) or not thread_id:
        raise InvalidParam("thread_id must be a string that is not empty")
    if receipt_type == FULLY_READ:
        raise InvalidParam(f"{FULLY_READ} is not kept by thread: leave thread_id out")
    return thread_id


def _open(
    token: AccessToken, room_id: RoomId, event_ids: list[EventId]
) -> tuple[Requester, Room, dict[str, int]]:
    """Return the requester, the room, which they must be in, and the ordinals of the events. One read."""
    if not all(map(fits_id, [room_id, *event_ids])):
        raise NotFound("There is no such event in this room")
    batch = Batch()
    device = batch.add(accounts.device_read(token.key))
    membership = batch.add(memberships.membership_read(token.user_id, room_id))
    head = batch.add(room_items.head_read(room_id))
    ordinals = batch.add_all([event_store.ordinal_read(event_id, room_id) for event_id in event_ids])
    batch.fetch()
    requester = verify(token, device.value)
    if head.value is None or membership.value is None or membership.value.membership != "join":
        raise unknown_room(room_id)
    places: dict[str, int] = {}
    for event_id, ordinal in zip(event_ids, ordinals, strict=True):
        if ordinal.value is None:
            raise NotFound(f"There is no event {event_id} in this room")
        places[event_id] = ordinal.value
    return requester, Room(head.value), places


def move_receipt(
    user_id: UserId,
    room_id: RoomId,
    receipt_type: str,
    event_id: EventId,
    ordinal: int,
    thread_id: str | None,
    *,
    ts: int | None = None,
) -> None:
    """Move a receipt or the read marker to the event at `ordinal`, unless it is already there or further.

    `ts` is when the user read it (milliseconds), now if None. Raises TooLarge for receipts in too many
    threads.
    """
    if receipt_type == FULLY_READ:
        _move_read_marker(user_id, room_id, event_id, ordinal)
        return
    read = receipt_read(user_id, room_id, receipt_type, thread_id)
    is_new = False

    def items() -> list[Item]:
        nonlocal is_new
        before = fetch(read)
        is_new = before is None and thread_id is not None
        if before is not None and before.ordinal >= ordinal:
            return []
        read_ms = now_ms() if ts is None else ts
        after = Receipt(room_id, user_id, receipt_type, event_id, ordinal, read_ms, thread_id)
        return [after.as_item()]

    def count() -> list[dynamodb.Write]:
        if not is_new:
            return []
        key = count_key(user_id, room_id, receipt_type)
        return [counts.count_write(streams.TABLE, key, "receipts", MOST, room_id=room_id)]

    try:
        streams.append(str(read.key["stream_id"]), items, more=count)
    except ConditionFailed as error:
        if not error.refused(counts.COUNT):
            raise
        raise TooLarge(f"A room keeps receipts of {MOST} threads for each user") from error


def _move_read_marker(user_id: UserId, room_id: RoomId, event_id: EventId, ordinal: int) -> None:
    def make(before: JsonObject | None) -> JsonObject | None:
        current: EventId | None = before.get("event_id") if before else None
        if isinstance(current, str):
            place = event_store.read_ordinals([current], room_id).get(current)
            if place is not None and place >= ordinal:
                return None
        return {"event_id": event_id}

    account_data.change(user_id, room_id, FULLY_READ, make)


def receipt_event(
    items: Iterable[Item], viewer_id: str, *, ignored: Collection[str] = ()
) -> ClientEvent | None:
    """Return the m.receipt event for the receipts among stream items; None if there are none.

    Private receipts are shown only to their own user, those of `ignored` users to nobody. The event can have
    only one receipt for each event, type and user. If a user has several in different threads, an unthreaded
    one takes precedence, then that of the main timeline.
    https://spec.matrix.org/v1.19/client-server-api/#mreceipt
    """
    content: dict[str, dict[str, dict[str, ReceiptData]]] = {}
    for receipt in sorted(receipts_among(items, (READ, PRIVATE, DELIVERED)), key=_generality):
        if receipt.receipt_type == PRIVATE and receipt.user_id != viewer_id:
            continue
        if receipt.user_id in ignored:
            continue
        of_type = content.setdefault(receipt.event_id, {}).setdefault(receipt.receipt_type, {})
        data: ReceiptData = {"ts": receipt.ts}
        if receipt.thread_id is not None:
            data["thread_id"] = receipt.thread_id
        of_type[receipt.user_id] = data
    return {"type": "m.receipt", "content": content} if content else None


def _generality(receipt: Receipt) -> int:
    return {None: 2, "main": 1}.get(receipt.thread_id, 0)
