"""The entries of a room's log that other servers get: events that this server made, or distributes for
another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.cache import LruCache
from murmuration.federation.names import policy
from murmuration.protocol.event_types import CREATE
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import server_of
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.rooms.room_items import LogEntry, RoomHead

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName

PAGE = 200
PAGES_BACK = 5
"""How many pages are searched backwards for the newest of this server's events."""
_events: LruCache[tuple[str, int], Event] = LruCache(64)


@dataclass(frozen=True, slots=True)
class Found:
    """Events for a server, in order. The log was read up to `until`, or to its end if `is_all`."""

    entries: Sequence[LogEntry]
    until: int
    is_all: bool

    @property
    def first_ms(self) -> int:
        """The time of the first event; 0 if there are no events."""
        return self.entries[0].event.origin_server_ts if self.entries else 0


def is_ours(entry: LogEntry) -> bool:
    """Return whether this server distributes the event. Events that filled a gap or were purged are never
    sent.
    """
    if entry.is_past or entry.distributed or entry.purged:
        return False
    return entry.relayed or entry.event.sender_server == settings().server_name


def may_hear(room: Room, servers: Sequence[ServerName]) -> list[ServerName]:
    """Return those servers that may get the room's events, by the room's m.federate and the operator's lists.

    The room's ACL doesn't matter: it restricts what servers may send, and servers that it denies still get
    events while they are in the room.
    https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms
    """
    create = room.event(CREATE)
    if create is not None and create.content.get("m.federate") is False:
        return []
    return [name for name in servers if policy.is_allowed(name)]


def read_events(room_id: RoomId, ordinals: Sequence[int]) -> list[Event]:
    """Return the events with these ordinals, in order, without missing ones."""
    missing = [ordinal for ordinal in ordinals if _events.get((room_id, ordinal)) is None]
    if missing:
        head = room_items.read_head(room_id)
        if head is None:
            return []
        for entry in room_items.read_log_entries([(room_id, it) for it in missing], {room_id: head.version}):
            if not entry.purged:
                _events.put((room_id, entry.ordinal), entry.event)
    found = [_events.get((room_id, ordinal)) for ordinal in ordinals]
    return [event for event in found if event is not None]


def read_owed(server_name: ServerName, room_id: RoomId, ordinal: int, *, only_newest: bool) -> Found:
    """Return entries of a room's log to send to a server, from `ordinal` on: a page, or only the newest
    event.
    """
    head = room_items.read_head(room_id)
    nothing = Found((), ordinal, True)
    if head is None or not may_hear(Room(head), [server_name]):
        return nothing
    is_joined = member_index.is_server_joined(head, server_name)
    if only_newest and is_joined:
        newest = _newest(head, ordinal)
        return Found([newest] if newest is not None else [], head.ordinal + 1, True)
    page = room_items.read_log_page(room_id, head.version, after=ordinal - 1, limit=PAGE)
    if not page:
        return nothing
    until = page[-1].ordinal + 1
    if not is_joined:
        # A server that has left gets the events up to the leave of its last user.
        ends = [number for number, entry in enumerate(page, 1) if _leaves(entry, server_name)]
        page = page[: ends[-1] if ends else 0]
    return Found([entry for entry in page if is_ours(entry)], until, until > head.ordinal)


def _leaves(entry: LogEntry, server_name: ServerName) -> bool:
    event = entry.event
    if event.membership not in ("leave", "ban"):
        return False
    return server_of(event.member_id) == server_name


def _newest(head: RoomHead, ordinal: int) -> LogEntry | None:
    """Return this server's newest event from an ordinal on; None if there is none."""
    before = None
    for _ in range(PAGES_BACK):
        page = room_items.read_log_page(
            head.room_id, head.version, after=ordinal - 1, before=before, limit=PAGE, forward=False
        )
        for entry in page:
            if is_ours(entry):
                return entry
        if not page:
            return None
        before = page[-1].ordinal
    return None
