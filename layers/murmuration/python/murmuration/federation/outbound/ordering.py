"""From new events of the room logs to the orders to send them: which events, and to whom.

An event goes to the servers that are in the room before or after it, but for this one and the sender's own. A
room with this server's users only costs nothing here: what the Streams worker knows of it already says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from murmuration.cache import LruCache
from murmuration.settings import settings
from murmuration.storage.rooms import local_members
from murmuration.storage.rooms.local_members import Servers

if TYPE_CHECKING:
    from murmuration.rooms.room import Room

Item = Mapping[str, Any]
_PDUS, _BYTES = 50, 900_000
"""What goes into one transaction."""
_LATER = 200
"""How many events after one are looked through for who joined or left since."""
_hearing: LruCache[tuple[str, bytes, frozenset[str]], frozenset[str]] = LruCache(512)
"""To which of some servers events may be sent, by room, the state of the room, and the servers."""


def order_sending(items: Sequence[Item]) -> None:
    """Order the sending of those entries of rooms' logs that this server distributes, in their order."""
    if not settings().federation:
        return
    by_room: dict[str, list[Item]] = {}
    for item in items:
        if "filled_below" not in item:
            by_room.setdefault(item["room_id"], []).append(item)
    orders = [order for of_room in by_room.values() for order in _orders(of_room)]
    if not orders:
        return
    from murmuration.federation.outbound import pokes

    pokes.order([message for order in orders for message in pokes.new_events(*order)])


Order = tuple[str, list[int], frozenset[str], int]


def _orders(items: Sequence[Item]) -> Iterator[Order]:
    """What is to be sent of a room: its ID, ordinals, the servers, the time."""
    with_destinations = [(item, _destinations(item)) for item in items]
    for servers, group in groupby(with_destinations, key=lambda pair: pair[1]):
        for some in _batches([item for item, _ in group]) if servers else ():
            made_ms = max(json.loads(item["json"])["origin_server_ts"] for item in some)
            yield some[0]["room_id"], [item["ordinal"] for item in some], servers, made_ms


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """The items in parts that fit into a transaction each."""
    part: list[Item] = []
    left = _BYTES
    for item in items:
        size = len(item["json"].encode())
        if part and (len(part) == 50 or size > left):
            yield part
            part, left = [], _BYTES
        part.append(item)
        left -= size
    if part:
        yield part


def _destinations(item: Item) -> frozenset[str]:
    """The servers that are to get an event; none for one that this server doesn't distribute."""
    root = None if item.get("resolved") else item.get("room_root") or item["state_root"]
    servers = local_members.servers_at(item["room_id"], root)
    head = servers.head
    leaver = _server_that_is_told(item)
    if head is None and leaver is None:
        return frozenset()
    event = json.loads(item["json"])
    own, sender_server = settings().server_name, event["sender"].partition(":")[2]
    if item.get("distributed") or (sender_server != own and not item.get("relayed")):
        return frozenset()
    from murmuration.rooms.room import Room
    from murmuration.storage.rooms import room_items

    head = head or room_items.read_head(item["room_id"])
    if head is None:
        return frozenset()
    room = Room(head)
    names = _joined_at(item, servers, root)
    names |= {leaver} if leaver is not None else set()
    return _may_hear(room, frozenset(names - {own, sender_server}))


def _may_hear(room: Room, names: frozenset[str]) -> frozenset[str]:
    from murmuration.federation.outbound.room_logs import may_hear

    key = (room.room_id, room.head.state_root, names)
    found = _hearing.get(key)
    if found is None:
        found = frozenset(may_hear(room, sorted(names)))
        _hearing.put(key, found)
    return found


def _server_that_is_told(item: Item) -> str | None:
    """The server of another server's user whom an event has leave, or whose invite or knock it ends."""
    from murmuration.storage.rooms.member_index import server_of

    server = server_of(item.get("member") or "")
    if not server or server == settings().server_name:
        return None
    membership = json.loads(item["json"])["content"].get("membership")
    before = json.loads(item["replaced"])["content"].get("membership") if "replaced" in item else None
    ends = membership in ("leave", "ban") and before in (None, "join", "invite", "knock")
    return server if ends else None


def _joined_at(item: Item, servers: Servers, root: bytes | None) -> set[str]:
    """The servers in the room when an event came. They were read later: who came since is left out."""
    head = servers.head
    counts = dict(servers.joined)
    if head is not None and root is not None and head.state_root != root:
        from murmuration.storage.rooms import room_items
        from murmuration.storage.rooms.member_index import server_of

        later = room_items.read_log_page(
            item["room_id"], head.version, after=item["ordinal"], before=head.ordinal + 1, limit=_LATER
        )
        for entry in later:
            if entry.event.membership is None or entry.is_aside:
                continue
            before = (entry.replaced or {}).get("content", {}).get("membership")
            server = server_of(entry.event.state_key or "")
            joined = (entry.event.membership == "join") - (before == "join")
            counts[server] = counts.get(server, 0) - joined
    return {server for server, count in counts.items() if count > 0}
