"""Decides whether a room's ACL allows a server. Compiled ACLs are cached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.cache import LruCache
from murmuration.protocol.event_types import SERVER_ACL
from murmuration.protocol.server_acl import ServerAcl
from murmuration.rooms.room import Room

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

_acls: LruCache[tuple[str, str], ServerAcl] = LruCache(256)
"""Compiled ACLs by room and event ID. An ACL never changes, not even by a redaction."""


def is_allowed(room: Room, server_name: ServerName) -> bool:
    """Return whether the room's current ACL allows a server. One read for each state of the room."""
    event = room.event(SERVER_ACL)
    if event is None:
        return True
    key = (room.room_id, event.event_id)
    acl = _acls.get(key)
    if acl is None:
        acl = ServerAcl(event.content)
        _acls.put(key, acl)
    return acl.allows(server_name)
