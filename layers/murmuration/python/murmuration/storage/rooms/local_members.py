"""The members of a room who are users of this server: who is to be told of what happens in it."""

from __future__ import annotations

from murmuration.cache import LruCache
from murmuration.settings import settings
from murmuration.storage.rooms import room_items

_members: LruCache[tuple[str, bytes], tuple[str, ...]] = LruCache(512)
"""The joined members from this server, by room and the snapshot of its state; those or later ones."""


def members_at(room_id: str, state_root: bytes | None) -> tuple[str, ...]:
    """The joined users of this server; read once for each state of the room, or now.

    Who joined or left since that state is told by their own event.
    """
    members = _members.get((room_id, state_root)) if state_root is not None else None
    if members is None:
        members = tuple(
            user_id
            for user_id in room_items.read_joined_user_ids(room_id)
            if user_id.partition(":")[2] == settings().server_name
        )
        if state_root is not None:
            _members.put((room_id, state_root), members)
    return members
