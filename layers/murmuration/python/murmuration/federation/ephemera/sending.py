"""Typing notifications and receipts of local users, for the other servers in their rooms.

Typing is sent in rooms of up to 50 other servers. Receipts are sent at once in rooms of up to 20. In larger
rooms they are sent once a minute, the newest of each user and thread, to the hundred servers with the most
members. Servers that don't answer miss them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from murmuration.cache import LruCache
from murmuration.clock import now_ms
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.settings import settings
from murmuration.storage.live.receipts import READ, Receipt, receipts_among
from murmuration.storage.live.streams import changes_among
from murmuration.storage.live.typing_users import Typing, typing_among
from murmuration.storage.rooms import member_index

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import StoredItem
    from murmuration.federation.shapes import Edu, ReceiptData, TypingContent, UserReceipt
    from murmuration.storage.json_types import WaitingReceipt

TYPING_SERVERS = 50
"""The maximum number of other servers in a room in which typing is sent."""
RECEIPT_SERVERS = 20
"""The maximum number of other servers in a room in which receipts are sent at once."""
MOST_RECEIPT_SERVERS = 100
"""The maximum number of a room's servers that get receipts: those with the most members."""
REMEMBERED_MS = 30_000
ALONE_MS = 3_000
"""How long the process caches the servers in a room, and that there is no other server.

A user who begins a conversation has often read the room before the other user joins it.
"""
MOST_ROOMS = 200
MOST_EDUS = 100
_servers: LruCache[str, tuple[int, tuple[ServerName, ...]]] = LruCache(512)
"""The servers in a room that may get EDUs, those with the most members first, and when they were read."""


def order_ephemera(items: Iterable[StoredItem]) -> None:
    """Queue EDUs about typing and receipts, given new items of rooms' streams.

    A room without other servers costs one read in three seconds.
    """
    if not settings().federation:
        return
    by_room: dict[RoomId, list[Receipt]] = {}
    for change in changes_among(items):
        user_id = change.user_id
        if change.kind != "room" or user_id is None or not member_index.is_local(user_id):
            continue
        if (typing := typing_among([change.item])) is not None:
            _order_typing(RoomId(change.owner), user_id, typing)
        for receipt in receipts_among([change.item], (READ,)):
            by_room.setdefault(RoomId(change.owner), []).append(receipt)
    for room_id, of_room in by_room.items():
        _order_receipts(room_id, of_room)


def _order_typing(room_id: RoomId, user_id: UserId, typing: Typing) -> None:
    servers, now = servers_in(room_id), now_ms()
    if not 0 < len(servers) <= TYPING_SERVERS:
        return
    is_typing = user_id in typing.running(now)
    content: TypingContent = {"room_id": room_id, "user_id": user_id, "typing": is_typing}
    send_edus([{"edu_type": "m.typing", "content": content}], servers, now)


def _order_receipts(room_id: RoomId, moved: Sequence[Receipt]) -> None:
    servers = servers_in(room_id)
    if not servers:
        return
    from murmuration.storage.servers import waiting_receipts

    receipts = [waiting_receipts.as_waiting(receipt) for receipt in moved]
    if len(servers) <= RECEIPT_SERVERS:
        send_edus(_receipt_edus(room_id, receipts), servers, now_ms())
        return
    for receipt in receipts:
        waiting_receipts.add(room_id, receipt)


def send_waiting_receipts() -> None:
    """Queue the waiting receipts of large rooms for sending. Costs one small read if there are none."""
    from murmuration.storage.servers import waiting_receipts

    if not settings().federation:
        return
    for waiting in waiting_receipts.read(MOST_ROOMS):
        servers = servers_in(waiting.room_id)[:MOST_RECEIPT_SERVERS]
        send_edus(_receipt_edus(waiting.room_id, waiting.receipts), servers, now_ms())
        waiting_receipts.remove(waiting)


def _receipt_edus(room_id: RoomId, receipts: Sequence[WaitingReceipt]) -> list[Edu]:
    """Return the EDUs of a room's receipts. One EDU has one receipt of each user, so a user with receipts
    in several threads needs several.
    """
    edus: list[dict[str, UserReceipt]] = []
    for receipt in receipts:
        user_id = receipt["user_id"]
        free = next((users for users in edus if user_id not in users), None)
        if free is None:
            free = {}
            edus.append(free)
        data: ReceiptData = {"ts": receipt["ts"]}
        if "thread_id" in receipt:
            data["thread_id"] = receipt["thread_id"]
        free[user_id] = {"event_ids": [receipt["event_id"]], "data": data}
    return [{"edu_type": "m.receipt", "content": {room_id: {"m.read": users}}} for users in edus]


def send_edus(edus: Sequence[Edu], servers: Iterable[ServerName], made_ms: int) -> None:
    """Send EDUs that are useless later, so they aren't sent again to servers that don't answer."""
    from murmuration.federation.outbound import pokes

    names = sorted(servers)
    for start in range(0, len(edus), MOST_EDUS):
        pokes.order(list(pokes.passing(edus[start : start + MOST_EDUS], names, made_ms)))


def servers_in(room_id: RoomId) -> tuple[ServerName, ...]:
    """Return the other servers in a room to which typing and receipts may be sent, those with the most
    members first.
    """
    known, now = _servers.get(room_id), now_ms()
    if known is not None and now - known[0] < (REMEMBERED_MS if known[1] else ALONE_MS):
        return known[1]
    found = _read_servers(room_id)
    _servers.put(room_id, (now, found))
    return found


def _read_servers(room_id: RoomId) -> tuple[ServerName, ...]:
    from murmuration.storage.rooms import room_items
    from murmuration.storage.rooms.local_members import servers_at

    head = room_items.read_head(room_id)
    if head is None:
        return ()
    joined = servers_at(room_id, head.state_root).joined
    if not joined:
        return ()
    from murmuration.federation.inbound import acls
    from murmuration.federation.outbound.room_logs import may_hear
    from murmuration.rooms.room import Room

    room = Room(head)
    by_members = sorted(joined, key=lambda name: (-joined[name], name))
    return tuple(name for name in may_hear(room, by_members) if acls.is_allowed(room, name))


def forget() -> None:
    """Forget what this process has cached."""
    _servers.clear()
