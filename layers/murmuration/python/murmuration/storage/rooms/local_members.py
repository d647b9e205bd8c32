"""The local users and the other servers in a room, cached by the room's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from murmuration.cache import LruCache
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.rooms.room_items import RoomHead

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName, UserId


@dataclass(frozen=True, slots=True)
class _Local:
    members: tuple[UserId, ...]
    federated: bool


@dataclass(frozen=True, slots=True)
class Servers:
    """The number of joined users of each other server. `head` is None if no other server was ever in the
    room.
    """

    joined: Mapping[ServerName, int] = field(default_factory=dict)
    head: RoomHead | None = None


_local: LruCache[tuple[str, bytes], _Local] = LruCache(512)
"""Cached joined local users, by room and the snapshot of its state. An entry may be newer than that state."""
_servers: LruCache[tuple[str, bytes], Servers] = LruCache(512)


def members_at(room_id: RoomId, state_root: bytes | None, head: RoomHead | None = None) -> tuple[UserId, ...]:
    """Return the joined local users in a state of the room. It is read once for each state.

    The answer may be newer than that state; the events of users who joined or left since then report these
    changes. Pass `head` to save its read.
    """
    return _local_at(room_id, state_root, head).members


def servers_at(room_id: RoomId, state_root: bytes | None) -> Servers:
    """Return the other servers with a joined user in a state of the room. It is read once for each state.

    The servers may be newer than `Servers.head`, never older. For a room with only local users, this reads no
    more than `members_at`.
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


def servers_now(room_id: RoomId) -> Servers:
    """Return the other servers with a joined user now. Their index is read once for each state."""
    head = room_items.read_head(room_id)
    if head is None or not (head.federated or not head.is_indexed):
        return Servers()
    key = (room_id, head.state_root)
    found = _servers.get(key)
    if found is None:
        found = Servers(member_index.read_servers(head), head)
        _servers.put(key, found)
    return found


def _local_at(room_id: RoomId, state_root: bytes | None, head: RoomHead | None) -> _Local:
    found = _local.get((room_id, state_root)) if state_root is not None else None
    if found is None:
        head = head or room_items.read_head(room_id)
        members = tuple(member_index.read_local(head)) if head is not None else ()
        # Without a member index the head doesn't have this information.
        found = _Local(members, head is not None and (head.federated or not head.is_indexed))
        if state_root is not None:
            _local.put((room_id, state_root), found)
    return found
