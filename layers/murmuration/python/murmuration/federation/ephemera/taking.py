"""Typing notifications and receipts of other servers' users.

Each counts only in a room that this server is in, whose ACL allows the sender's server, and which the user is
in. Typing is stored only while a local user of the room waits for updates. In larger rooms only receipts of
events of this server's users are stored, and in large ones none: each of them costs as much as a message.
A receipt whose event isn't known is parked, as a third server may send the event later.
https://spec.matrix.org/v1.19/server-server-api/#typing-notifications
https://spec.matrix.org/v1.19/server-server-api/#receipts
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from murmuration.aws.concurrency import parallel
from murmuration.clock import now_ms
from murmuration.federation.inbound import acls
from murmuration.identity import rate_limits
from murmuration.protocol.errors import LimitExceeded, NotFound, TooLarge
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId, is_compliant_user_of
from murmuration.protocol.sizes import Budget, json_bytes
from murmuration.rooms.ephemeral import receipts, typing
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.room import Room
from murmuration.storage.live import listeners
from murmuration.storage.live.compact import attention
from murmuration.storage.live.receipts import READ
from murmuration.storage.rooms import event_store, member_index, room_items
from murmuration.storage.rooms.local_members import members_at
from murmuration.storage.servers import parked_receipts

if TYPE_CHECKING:
    from murmuration.federation.inbound.transactions.edus import Contents
    from murmuration.storage.json_types import StoredReceipt

TYPING_MS = 60_000
"""How long a user counts as typing if no end is sent. Servers repeat the notification before that."""
RECEIPTS_ROOM = 50
"""The largest number of members for which all receipts of other servers' users are stored."""
LARGE_ROOM = 1_000
"""The largest number of members for which receipts of local users' events are stored."""
MOST_RECEIPTS = 200
"""The maximum number in one transaction."""
MOST_EVENTS = 5
"""How many events a receipt may name; the newest of them is used."""
LATE_BYTES = 60_000
"""The maximum size in bytes of one room's receipts, in one transaction, that wait for their events."""
MOST_RETRIED = 100
"""How many parked receipts are queued at once."""
MOST_ASKED = 100
"""How many local members are checked at most for one that waits for updates."""


def take_typing(origin: ServerName, contents: Contents) -> None:
    """Store the typing notifications in a transaction's `m.typing` EDUs, the last one of each user
    and room.
    """
    newest: dict[tuple[RoomId, UserId], bool] = {}
    for content in contents:
        room_id, user_id, is_typing = (content.get(name) for name in ("room_id", "user_id", "typing"))
        if (
            not isinstance(room_id, str)
            or not isinstance(is_typing, bool)
            or not is_compliant_user_of(user_id, origin)
        ):
            continue
        newest[RoomId(room_id), user_id] = is_typing
    for (room_id, user_id), is_typing in newest.items():
        room = _room(room_id, origin)
        if room is None or not _is_joined(room, [user_id]) or not _somebody_waits(room):
            continue
        if may_go_on(origin, 1):
            typing.set_remote_typing(room_id, user_id, typing=is_typing, timeout_ms=TYPING_MS)


def _somebody_waits(room: Room) -> bool:
    members = members_at(room.room_id, room.head.state_root, room.head)
    return attention.somebody_listens(listeners.read_items(members[:MOST_ASKED]))


@dataclass(frozen=True, slots=True)
class _Receipt:
    user_id: UserId
    event_id: EventId
    thread_id: str | None
    ts: int


def take_receipts(origin: ServerName, contents: Contents) -> None:
    """Store the receipts of a transaction's `m.receipt` that are for events known to this server."""
    by_room: dict[RoomId, list[_Receipt]] = {}
    left = MOST_RECEIPTS
    for content in contents:
        for room_id, of_room in content.items():
            found = list(_receipts(origin, of_room))[:left]
            left -= len(found)
            if found:
                by_room.setdefault(RoomId(room_id), []).extend(found)
    for room_id, some in by_room.items():
        room = _room(room_id, origin)
        if room is not None and room.head.joined <= LARGE_ROOM:
            early = _move(room, origin, some)
            if early and room.head.joined <= RECEIPTS_ROOM and may_go_on(origin, len(early)):
                _queue(room_id, origin, early)


def _queue(room_id: RoomId, origin: ServerName, early: Sequence[_Receipt]) -> None:
    """Queue receipts behind the room's PDUs. Their events may be among those: a transaction may have both."""
    from murmuration.federation.inbound.transactions import queueing

    budget = Budget(LATE_BYTES)
    fitting = [each for each in map(_stored, early) if budget.take(json_bytes(each))]
    queueing.put_receipts(origin, room_id, fitting)


def _stored(receipt: _Receipt) -> StoredReceipt:
    return {
        "user_id": receipt.user_id,
        "event_id": receipt.event_id,
        "thread_id": receipt.thread_id,
        "ts": receipt.ts,
    }


def take_queued_receipts(
    origin: ServerName, room_id: RoomId, queued: Sequence[StoredReceipt], *, parked: bool
) -> None:
    """Store receipts that were queued because their events were unknown. Those whose events are still unknown
    are parked. `parked` says that they are already, and they are no longer once they are stored.
    """
    room = _room(room_id, origin)
    if room is None:
        return
    receipts = [_Receipt(**each) for each in queued]
    unknown = _move(room, origin, receipts)
    if parked:
        stored = [each for each in receipts if each not in unknown]
        parallel(*(functools.partial(parked_receipts.remove, room_id, _stored(each)) for each in stored))
    elif unknown and may_go_on(origin, len(unknown)):
        newest = {(each.user_id, each.thread_id): each for each in unknown}
        parallel(
            *(functools.partial(parked_receipts.park, room_id, origin, _stored(it)) for it in newest.values())
        )


def retry_parked_receipts() -> int:
    """Queue the parked receipts that are due, and drop those that have waited for a day. Returns how many
    were queued. Costs one small read if there are none.

    The next attempt is postponed before a receipt is queued, so two schedules don't queue it twice.
    """
    from murmuration.federation.inbound.transactions import queueing

    retried = 0
    for parked in parked_receipts.read_due(MOST_RETRIED):
        if parked.expires_ms <= now_ms():
            parked_receipts.remove(parked.room_id, parked.receipt)
        elif parked_receipts.postpone(parked):
            queueing.put_receipts(parked.origin, parked.room_id, [parked.receipt], parked=True)
            retried += 1
    return retried


def _receipts(origin: ServerName, of_room: object) -> Iterator[_Receipt]:
    """Yield the read receipts of a server's users from an EDU's part about one room."""
    read = of_room.get("m.read") if isinstance(of_room, dict) else None
    for user_id, receipt in read.items() if isinstance(read, dict) else ():
        if not is_compliant_user_of(user_id, origin) or not isinstance(receipt, dict):
            continue
        event_ids, data = receipt.get("event_ids"), receipt.get("data")
        data = data if isinstance(data, dict) else {}
        thread_id, ts = data.get("thread_id"), data.get("ts")
        if thread_id is not None and not (isinstance(thread_id, str) and thread_id and fits_id(thread_id)):
            continue
        now = now_ms()
        for event_id in event_ids[:MOST_EVENTS] if isinstance(event_ids, list) else ():
            if isinstance(event_id, str) and fits_id(event_id):
                yield _Receipt(user_id, EventId(event_id), thread_id, ts if _is_past(ts, now) else now)


def _is_past(ts: object, now: int) -> TypeGuard[int]:
    return isinstance(ts, int) and not isinstance(ts, bool) and 0 < ts < now


def _move(room: Room, origin: ServerName, some: Sequence[_Receipt]) -> list[_Receipt]:
    """Store receipts of users who are in the room. Returns those whose events this server doesn't have."""
    joined = _is_joined(room, sorted({receipt.user_id for receipt in some}))
    some = [receipt for receipt in some if receipt.user_id in joined]
    ordinals = event_store.read_ordinals({receipt.event_id for receipt in some}, room.room_id)
    newest: dict[tuple[UserId, str | None], tuple[_Receipt, int]] = {}
    for receipt in some:
        ordinal, before = ordinals.get(receipt.event_id), newest.get((receipt.user_id, receipt.thread_id))
        if ordinal is not None and (before is None or before[1] <= ordinal):
            newest[receipt.user_id, receipt.thread_id] = receipt, ordinal
    known: Sequence[tuple[_Receipt, int]] = list(newest.values())
    if room.head.joined > RECEIPTS_ROOM:
        known = _of_our_events(room, known)
    if known and may_go_on(origin, len(known)):
        for receipt, ordinal in known:
            _move_one(room.room_id, receipt, ordinal)
    return [receipt for receipt in some if receipt.event_id not in ordinals]


def _move_one(room_id: RoomId, receipt: _Receipt, ordinal: int) -> None:
    try:
        receipts.move_receipt(
            receipt.user_id, room_id, READ, receipt.event_id, ordinal, receipt.thread_id, ts=receipt.ts
        )
    except TooLarge:
        return  # a user has receipts in too many threads


def _of_our_events(room: Room, known: Sequence[tuple[_Receipt, int]]) -> list[tuple[_Receipt, int]]:
    """Return the receipts that are for events of this server's users. One read."""
    keys = [(room.room_id, ordinal) for ordinal in {ordinal for _, ordinal in known}]
    entries = room_items.read_log_entries(keys, {room.room_id: room.version})
    ours = {entry.ordinal for entry in entries if member_index.is_local(entry.event.sender)}
    return [(receipt, ordinal) for receipt, ordinal in known if ordinal in ours]


def _room(room_id: RoomId, origin: ServerName) -> Room | None:
    """Return a room that this server is in and whose ACL allows the other server; None for any other."""
    if not fits_id(room_id):
        return None
    try:
        room = Room.load(room_id)
        room.require_residency()
    except NotFound:
        return None
    return room if acls.is_allowed(room, origin) else None


def _is_joined(room: Room, users: Sequence[UserId]) -> set[UserId]:
    return member_index.read_joined_among([room.room_id], users)


def may_go_on(origin: ServerName, count: int) -> bool:
    """Return whether a server is within its rate limit for EDUs. If it isn't, its EDUs are dropped."""
    try:
        rate_limits.check("federation_ephemera", origin, count)
    except LimitExceeded:
        return False
    return True
