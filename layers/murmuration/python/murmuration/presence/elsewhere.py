"""Presence of remote users in small rooms with a local user, if the operator enables it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from murmuration.settings import settings
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.rooms.room_items import RoomHead
from murmuration.storage.servers import remote_presence

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId


def note_members(heads: Iterable[RoomHead]) -> None:
    """Note that local users see the presence of the remote members of these small rooms from now on."""
    if not settings().federated_presence:
        return
    rooms: dict[UserId, list[RoomId]] = {}
    for head in heads:
        for user_id in member_index.read_present(head) if head.federated else ():
            if not member_index.is_local(user_id):
                rooms.setdefault(user_id, []).append(head.room_id)
    if rooms:
        remote_presence.add_rooms(rooms)


def rooms_of(user_id: UserId, most_members: int) -> list[RoomHead]:
    """Return the small rooms in which a remote user's presence is seen, and of which they are still a
    member.
    """
    noted = remote_presence.read_rooms([user_id]).get(user_id, [])
    joined = member_index.rooms_joined_by(user_id, noted) if noted else []
    heads = room_items.read_heads(joined).values() if joined else ()
    return [head for head in heads if 1 < head.joined <= most_members]
