"""Finds which users and servers share a room, by local users' memberships and the rooms' member indexes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from murmuration.protocol.event_types import ENCRYPTION_KEY
from murmuration.protocol.identifiers import UserId, server_of
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.users import memberships

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName

MOST_READS = 2_000
"""How many memberships are read at most. A user whose rooms weren't reached counts as sharing none."""


def shares_room(user_id: UserId, server: ServerName) -> bool:
    """Return whether a user of the server is in a room with the local user, or has invited them. Two
    reads.
    """
    rows = memberships.read_memberships(user_id)
    if any(row.membership == "invite" and server_of(row.sender) == server for row in rows):
        return True
    joined = [row.room_id for row in rows if row.membership == "join"]
    return bool(member_index.rooms_joined_by_server(server, joined))


def sharing_encrypted_room(user_id: UserId, others: Collection[UserId]) -> set[UserId]:
    """Return which of these remote users are in an encrypted room together with a local user."""
    rooms = memberships.read_joined_rooms(user_id)
    encrypted = sorted(room_items.read_rooms_with_state(rooms, ENCRYPTION_KEY)) if rooms and others else []
    left, found, reads = set(others), set[UserId](), 0
    for some in _batches(encrypted, max(1, 400 // max(len(left), 1))):
        reads += len(some) * len(left)
        if not left or reads > MOST_READS:
            break
        found |= member_index.read_joined_among(some, sorted(left))
        left -= found
    return found


def _batches(rooms: Sequence[RoomId], size: int) -> list[Sequence[RoomId]]:
    return [rooms[start : start + size] for start in range(0, len(rooms), size)]
