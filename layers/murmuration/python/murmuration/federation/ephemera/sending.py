"""Typing notifications and receipts of local users, for the other servers in their rooms.

Typing goes to rooms of up to 50 servers. Receipts go at once to rooms of up to 20. In larger ones they go out
once a minute, the newest of each user and thread, to the hundred servers with the most members. Servers that
don't answer miss them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from murmuration.cache import LruCache
from murmuration.clock import now_ms
from murmuration.settings import settings
from murmuration.storage.rooms import member_index

TYPING_SERVERS = 50
"""Typing is sent in rooms of at most so many other servers."""
RECEIPT_SERVERS = 20
"""Receipts are sent at once in rooms of at most so many other servers."""
MOST_RECEIPT_SERVERS = 100
"""To how many servers of a room receipts go: those with the most members there."""
REMEMBERED_MS = 30_000
MOST_ROOMS = 200
MOST_EDUS = 100
_servers: LruCache[str, tuple[int, tuple[str, ...]]] = LruCache(512)
"""The servers in a room that may be told, those with the most members first, and when they were read."""


def order_ephemera(items: Iterable[Mapping[str, Any]]) -> None:
    """Have other servers told of typing and receipts, by new items of rooms' streams.

    A room without other servers costs one read in half a minute.
    """
    if not settings().federation:
        return
    receipts: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        kind, _, room_id = item["stream_id"].partition(":")
        if kind != "room" or not _is_local(item.get("user_id")):
            continue
        if item["sk"] == "typing":
            _order_typing(room_id, item)
        elif item.get("receipt_type") == "m.read":
            receipts.setdefault(room_id, []).append(item)
    for room_id, of_room in receipts.items():
        _order_receipts(room_id, of_room)


def _is_local(user_id: object) -> bool:
    return isinstance(user_id, str) and member_index.is_local(user_id)


def _order_typing(room_id: str, item: Mapping[str, Any]) -> None:
    from murmuration.rooms.ephemeral.typing import is_typing

    servers, now = servers_in(room_id), now_ms()
    if not 0 < len(servers) <= TYPING_SERVERS:
        return
    user_id = item["user_id"]
    content = {"room_id": room_id, "user_id": user_id, "typing": is_typing(item, user_id, now)}
    send_edus([{"edu_type": "m.typing", "content": content}], servers, now)


def _order_receipts(room_id: str, items: Sequence[Mapping[str, Any]]) -> None:
    servers = servers_in(room_id)
    if not servers:
        return
    names = ("user_id", "event_id", "ts", "thread_id")
    receipts = [{name: item[name] for name in names if name in item} for item in items]
    if len(servers) <= RECEIPT_SERVERS:
        send_edus(_receipt_edus(room_id, receipts), servers, now_ms())
        return
    from murmuration.storage.servers import waiting_receipts

    for receipt in receipts:
        waiting_receipts.add(room_id, receipt)


def send_waiting_receipts() -> None:
    """Have the receipts of large rooms sent. Costs one small read where there are none."""
    from murmuration.storage.servers import waiting_receipts

    if not settings().federation:
        return
    for waiting in waiting_receipts.read(MOST_ROOMS):
        servers = servers_in(waiting.room_id)[:MOST_RECEIPT_SERVERS]
        send_edus(_receipt_edus(waiting.room_id, waiting.receipts), servers, now_ms())
        waiting_receipts.remove(waiting)


def _receipt_edus(room_id: str, receipts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The EDUs of a room's receipts: as many as the user with the most threads has."""
    edus: list[dict[str, dict[str, Any]]] = []
    for receipt in receipts:
        user_id = receipt["user_id"]
        free = next((users for users in edus if user_id not in users), None)
        if free is None:
            free = {}
            edus.append(free)
        data = {name: receipt[name] for name in ("ts", "thread_id") if name in receipt}
        free[user_id] = {"event_ids": [receipt["event_id"]], "data": data}
    return [{"edu_type": "m.receipt", "content": {room_id: {"m.read": users}}} for users in edus]


def send_edus(edus: Sequence[Mapping[str, Any]], servers: Iterable[str], made_ms: int) -> None:
    """Have EDUs sent that are of no use later."""
    from murmuration.federation.outbound import pokes

    names = sorted(servers)
    for start in range(0, len(edus), MOST_EDUS):
        pokes.order(list(pokes.passing(edus[start : start + MOST_EDUS], names, made_ms)))


def servers_in(room_id: str) -> tuple[str, ...]:
    """The other servers in a room that may be told of what happens there; most members first."""
    known, now = _servers.get(room_id), now_ms()
    if known is not None and now - known[0] < REMEMBERED_MS:
        return known[1]
    found = _read_servers(room_id)
    _servers.put(room_id, (now, found))
    return found


def _read_servers(room_id: str) -> tuple[str, ...]:
    from murmuration.storage.rooms import room_items
    from murmuration.storage.rooms.local_members import servers_at

    head = room_items.read_head(room_id)
    if head is None:
        return ()
    joined = servers_at(room_id, head.state_root).joined
    if not joined:
        return ()
    from murmuration.federation.outbound.room_logs import may_hear
    from murmuration.rooms.room import Room

    by_members = sorted(joined, key=lambda name: (-joined[name], name))
    return tuple(may_hear(Room(head), by_members))


def forget() -> None:
    """Drop what this process remembers."""
    _servers.clear()
