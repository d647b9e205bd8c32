"""The users of this server who are joined to a room, remembered by the room's state."""

from __future__ import annotations

from murmuration.cache import LruCache
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.rooms.room_items import RoomHead

_members: LruCache[tuple[str, bytes], tuple[str, ...]] = LruCache(512)
"""The joined members from this server, by room and the snapshot of its state; those or later ones."""


def members_at(room_id: str, state_root: bytes | None, head: RoomHead | None = None) -> tuple[str, ...]:
    """The joined users of this server; read once for each state of the room, or now.

    Who joined or left since that state is told by their own event. `head` spares its reading.
    """
    members = _members.get((room_id, state_root)) if state_root is not None else None
    if members is None:
        head = head or room_items.read_head(room_id)
        members = tuple(member_index.read_local(head)) if head is not None else ()
        if state_root is not None:
            _members.put((room_id, state_root), members)
    return members
