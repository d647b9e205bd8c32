"""The servers in a room by its member index, and the servers through which to join it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage.rooms import member_index

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

VIA_LIMIT = 3


def servers_in_room(room: Room) -> list[ServerName]:
    """Return all servers with a joined user, this server included, those with the most members first."""
    counts = member_index.read_servers(room.head)
    if room.head.is_resident:
        counts[settings().server_name] = room.head.local_joined or 0
    return sorted(counts, key=lambda server: (-counts[server], server))


def via(room: Room, *, limit: int = VIA_LIMIT) -> list[ServerName]:
    """Return servers through which a user may join: this one if it is in the room, and those with the most
    members.
    """
    own = settings().server_name
    servers = servers_in_room(room)
    return ([own] if own in servers else []) + [it for it in servers if it != own][: max(limit - 1, 0)]
