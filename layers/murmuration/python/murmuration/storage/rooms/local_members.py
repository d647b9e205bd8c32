"""Who takes part in a room, remembered by the room's state: users of this server, and other servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from murmuration.cache import LruCache
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.rooms.room_items import RoomHead


@dataclass(frozen=True, slots=True)
class _Local:
    members: tuple[str, ...]
    federated: bool


@dataclass(frozen=True, slots=True)
class Servers:
    """How many users of each other server are joined; `head` is None where there never was one."""

    joined: Mapping[str, int] = field(default_factory=dict)
    head: RoomHead | None = None


_local: LruCache[tuple[str, bytes], _Local] = LruCache(512)
"""The joined members from this server, by room and the snapshot of its state; those or later ones."""
_servers: LruCache[tuple[str, bytes], Servers] = LruCache(512)


def members_at(room_id: str, state_root: bytes | None, head: RoomHead | None = None) -> tuple[str, ...]:
    """The joined users of this server; read once for each state of the room, or now.

    Who joined or left since that state is told by their own event. `head` spares its reading.
    """
    return _local_at(room_id, state_root, head).members


def servers_at(room_id: str, state_root: bytes | None) -> Servers:
    """The other servers with somebody joined; read once for each state of the room, or now.

    `Servers.head` is the head that was read before them, so they may be newer than it, never older. A room
    with this server's users only costs no read beyond that of `members_at`.
    """
    if not _local_at(room_id, state_root, None).federated:
        return Servers()
    found = _servers.get((room_id, state_root)) if state_root is not None else None
    if found is None:
        head = room_items.read_head(room_id)
        found = Servers(member_index.read_servers(head), head) if head is not None else Servers()
        if state_root is not None:
            _servers.put((room_id, state_root), found)
    return found


def _local_at(room_id: str, state_root: bytes | None, head: RoomHead | None) -> _Local:
    found = _local.get((room_id, state_root)) if state_root is not None else None
    if found is None:
        head = head or room_items.read_head(room_id)
        members = tuple(member_index.read_local(head)) if head is not None else ()
        # Without a member index the head can't tell.
        found = _Local(members, head is not None and (head.federated or not head.is_indexed))
        if state_root is not None:
            _local.put((room_id, state_root), found)
    return found
