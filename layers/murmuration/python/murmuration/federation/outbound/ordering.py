"""Turns new events of the room logs into orders to send them: which events, and to which servers.

An event goes to the servers that are in the room before or after it, except this one and the sender's own. If
a room has only local users, nothing is read: the new items themselves show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from murmuration.aws.dynamodb import StoredItem
from murmuration.cache import LruCache
from murmuration.protocol.identifiers import RoomId, ServerName, server_of
from murmuration.settings import settings
from murmuration.storage.live.new_entries import NewEntry, new_entries
from murmuration.storage.rooms import local_members
from murmuration.storage.rooms.local_members import Servers

if TYPE_CHECKING:
    from murmuration.rooms.room import Room

_PDUS, _BYTES = 50, 900_000
"""The maximum size of the events in one transaction, in bytes."""
_LATER = 200
"""How many later events are searched for users who joined or left since."""
_hearing: LruCache[tuple[RoomId, bytes, frozenset[ServerName]], frozenset[ServerName]] = LruCache(512)
"""A cache of the servers to which events may be sent, by room, the state of the room, and the servers."""


def order_sending(items: Sequence[StoredItem]) -> None:
    """Order the sending of those log entries that this server distributes, in their order."""
    if not settings().federation:
        return
    by_room: dict[str, list[NewEntry]] = {}
    for entry in new_entries(items):
        if not entry.is_past:
            by_room.setdefault(entry.room_id, []).append(entry)
    orders = [order for of_room in by_room.values() for order in _orders(of_room)]
    if not orders:
        return
    from murmuration.federation.outbound import pokes

    pokes.order([message for order in orders for message in pokes.new_events(*order)])


Order = tuple[RoomId, list[int], frozenset[ServerName], int]


def _orders(entries: Sequence[NewEntry]) -> Iterator[Order]:
    """Yield the orders for a room: its ID, the ordinals, the servers, the time of the newest event."""
    with_destinations = [(entry, _destinations(entry)) for entry in entries]
    for servers, group in groupby(with_destinations, key=lambda pair: pair[1]):
        for some in _batches([entry for entry, _ in group]) if servers else ():
            made_ms = max(entry.fields["origin_server_ts"] for entry in some)
            yield some[0].room_id, [entry.ordinal for entry in some], servers, made_ms


def _batches(entries: Sequence[NewEntry]) -> Iterator[list[NewEntry]]:
    """Yield the entries in batches that each fit into a transaction."""
    part: list[NewEntry] = []
    left = _BYTES
    for entry in entries:
        size = len((entry.encoded or "").encode())
        if part and (len(part) == _PDUS or size > left):
            yield part
            part, left = [], _BYTES
        part.append(entry)
        left -= size
    if part:
        yield part


def _destinations(entry: NewEntry) -> frozenset[ServerName]:
    """Return the servers that are to get an event; none for an event that this server doesn't distribute."""
    servers = local_members.servers_at(entry.room_id, entry.root)
    head = servers.head
    leaver = _server_that_is_told(entry)
    if head is None and leaver is None:
        return frozenset()
    own, sender_server = settings().server_name, server_of(entry.fields["sender"])
    if entry.is_distributed or (sender_server != own and not entry.is_relayed):
        return frozenset()
    from murmuration.rooms.room import Room
    from murmuration.storage.rooms import room_items

    head = head or room_items.read_head(entry.room_id)
    if head is None:
        return frozenset()
    room = Room(head)
    names = _joined_at(entry, servers)
    names |= {leaver} if leaver is not None else set()
    return _may_hear(room, frozenset(names - {own, sender_server}))


def _may_hear(room: Room, names: frozenset[ServerName]) -> frozenset[ServerName]:
    from murmuration.federation.outbound.room_logs import may_hear

    key = (room.room_id, room.head.state_root, names)
    found = _hearing.get(key)
    if found is None:
        found = frozenset(may_hear(room, sorted(names)))
        _hearing.put(key, found)
    return found


def _server_that_is_told(entry: NewEntry) -> ServerName | None:
    """Return the server of a remote user who leaves by an event, or whose invite or knock it ends."""
    server = server_of(entry.member) if entry.member else None
    if not server or server == settings().server_name:
        return None
    before = entry.membership_before
    ends = entry.new_membership in ("leave", "ban") and before in (None, "join", "invite", "knock")
    return server if ends else None


def _joined_at(entry: NewEntry, servers: Servers) -> set[ServerName]:
    """Return the servers that were in the room when an event came.

    `servers` were read later, so the servers that joined since then are left out.
    """
    head, root = servers.head, entry.root
    counts = dict(servers.joined)
    if head is not None and root is not None and head.state_root != root:
        from murmuration.storage.rooms import room_items

        later = room_items.read_log_page(
            entry.room_id, head.version, after=entry.ordinal, before=head.ordinal + 1, limit=_LATER
        )
        for since in later:
            if since.event.membership is None or since.is_aside:
                continue
            before = since.replaced["content"].get("membership") if since.replaced else None
            server = server_of(since.event.member_id)
            joined = (since.event.membership == "join") - (before == "join")
            counts[server] = counts.get(server, 0) - joined
    return {server for server, count in counts.items() if count > 0}
