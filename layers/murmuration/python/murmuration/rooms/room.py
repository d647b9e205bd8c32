"""`Room`: a room at one moment. Its state is read when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.aws.reads import Batch
from murmuration.cache import LruCache
from murmuration.protocol.errors import Forbidden, NotFound
from murmuration.protocol.event_types import CREATE, MEMBER
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.room_versions import RoomVersion
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.rooms.room_items import RoomHead, StateEntry

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName, UserId

_states: LruCache[tuple[str, int], dict[StateKey, StateEntry | None]] = LruCache(512)
"""Cached state by (room, state version). State is read after the head, so a cached entry may be newer than
its version, but never older. A write based on a newer one is refused, because the head has moved too."""
_servers: LruCache[tuple[str, int, str], bool] = LruCache(512)
"""Cached answers whether a server has a joined user, by room, state version and server."""


class Room:
    """A room at one head: everything that is read through it belongs to that state version."""

    def __init__(self, head: RoomHead) -> None:
        self.head = head
        key = (head.room_id, head.state_version)
        known = _states.get(key)
        if known is None:
            known = {}
            _states.put(key, known)
        self._known = known

    @classmethod
    def load(cls, room_id: RoomId) -> Room:
        """Return the room as it is now. Raises NotFound for an unknown room."""
        head = room_items.read_head(room_id)
        if head is None:
            raise NotFound(f"Room {room_id} is not known")
        return cls(head)

    @property
    def room_id(self) -> RoomId:
        return self.head.room_id

    @property
    def version(self) -> RoomVersion:
        return self.head.version

    def entries(self, pairs: Iterable[StateKey]) -> dict[StateKey, StateEntry]:
        """Return the existing state events with these (type, state key) pairs.

        One read for those that aren't cached.
        """
        wanted = list(dict.fromkeys(pairs))
        missing = [pair for pair in wanted if pair not in self._known]
        if missing:
            found = room_items.read_state_entries(self.room_id, self.version, missing)
            self._known.update({pair: found.get(pair) for pair in missing})
        return {pair: entry for pair in wanted if (entry := self._known[pair]) is not None}

    def knows(self, pairs: Iterable[StateKey]) -> bool:
        """Return whether `entries` would read nothing for these (type, state key) pairs."""
        return all(pair in self._known for pair in pairs)

    def events(self, pairs: Iterable[StateKey]) -> dict[StateKey, Event]:
        return {pair: entry.event for pair, entry in self.entries(pairs).items()}

    def event(self, event_type: str, state_key: str = "") -> Event | None:
        """Return one state event, or None."""
        return self.events([(event_type, state_key)]).get((event_type, state_key))

    def membership(self, user_id: UserId) -> str | None:
        """Return the user's membership; None if they never had one."""
        event = self.event(MEMBER, user_id)
        return event.membership if event else None

    def remember(self, changes: Mapping[StateKey, StateEntry | None]) -> None:
        """Put state that was just written, together with this room's head, into the cache."""
        self._known.update(changes)

    def is_server_joined(self, server: ServerName) -> bool:
        """Return whether a server has a joined user. One small read for each state version of the room."""
        key = (self.room_id, self.head.state_version, server)
        known = _servers.get(key)
        if known is None:
            known = member_index.is_server_joined(self.head, server)
            _servers.put(key, known)
        return known

    @property
    def federates(self) -> bool:
        """Whether users of other servers may join."""
        create = self.event(CREATE)
        return create is not None and create.content.get("m.federate") is not False

    def require_residency(self) -> None:
        """Raise NotFound unless a local user is in the room: otherwise this server has no right to its
        events.
        """
        if not self.head.is_resident:
            raise NotFound(f"This server is not in room {self.room_id}")

    def require_joined(self, user_id: UserId) -> None:
        """Raise Forbidden unless the user is in the room."""
        if self.membership(user_id) != "join":
            raise Forbidden(f"You are not in room {self.room_id}")


def advance(room: Room, head: RoomHead, changes: Mapping[StateKey, StateEntry | None]) -> Room:
    """Return the room after `head` and `changes` were written based on `room`. Cached state is kept."""
    after = Room(head)
    if head.state_version != room.head.state_version:
        after._known.update(room._known)
    after.remember(changes)
    return after


def prefetch(rooms: Sequence[Room], pairs: Sequence[StateKey]) -> None:
    """Read the state events with these (type, state key) pairs that aren't cached, for all `rooms`
    together.
    """
    missing = {room.room_id: [pair for pair in pairs if pair not in room._known] for room in rooms}
    batch = Batch()
    answers = {
        (room.room_id, pair): batch.add(room_items.state_read(room.room_id, pair, room.version))
        for room in rooms
        for pair in missing[room.room_id]
    }
    batch.fetch()
    for room in rooms:
        room._known.update({pair: answers[room.room_id, pair].value for pair in missing[room.room_id]})
