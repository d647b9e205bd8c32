"""All of a room's current state, which a warm process caches until the room's state changes.

A large room's state is most of what /state, /members and a first sync read, and it seldom changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from murmuration.cache import LruCache
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event
from murmuration.protocol.sizes import RawJson, encode
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import StateEntry

REMEMBERED_BYTES = 6_000_000
"""The maximum size of the cached state, in bytes of stored JSON. Its objects take about five times the
memory."""
_OTHERS = ""
_remembered: LruCache[tuple[str, int, NodeId, str], tuple[StateEntry, ...]] = LruCache(REMEMBERED_BYTES)
"""The state events by room, state version, snapshot, and part (members or others). State is read after the
head. So a cached entry may be newer than its version, but never older."""
_profiles: LruCache[tuple[str, int, NodeId], RawJson] = LruCache(REMEMBERED_BYTES // 3)
"""Cached results of `read_joined_profiles`, by room, state version and snapshot."""


def read_all(room: Room) -> list[StateEntry]:
    """Return the whole current state by type and state key."""
    members, others = _recall(room, MEMBER), _recall(room, _OTHERS)
    if members is None and others is None:
        entries = room_items.read_state_of_type(room.room_id, room.version)
        _remember(room, MEMBER, [entry for entry in entries if entry.event.type == MEMBER])
        _remember(room, _OTHERS, [entry for entry in entries if entry.event.type != MEMBER])
        return entries
    members = read_members(room) if members is None else members
    others = read_others(room) if others is None else others
    prefix = room_items.state_prefix(MEMBER)
    before = [entry for entry in others if room_items.state_prefix(entry.event.type) < prefix]
    return [*before, *members, *others[len(before) :]]


def read_members(room: Room) -> Sequence[StateEntry]:
    """Return the current membership events by user ID."""
    found = _recall(room, MEMBER)
    if found is None:
        found = room_items.read_state_of_type(room.room_id, room.version, MEMBER)
        _remember(room, MEMBER, found)
    return found


def read_some_members(room: Room, limit: int) -> list[StateEntry]:
    """Return the first `limit` of the current membership events by user ID."""
    found = _recall(room, MEMBER)
    if found is not None:
        return list(found[:limit])
    return room_items.read_state_of_type(room.room_id, room.version, MEMBER, limit=limit)


def read_joined_profiles(room: Room) -> RawJson:
    """Return the `display_name` and `avatar_url` of each joined user, None if not set, as JSON by user ID.

    It is rendered once for each state of the room.
    """
    key = (room.room_id, room.head.state_version, room.head.state_root)
    found = _profiles.get(key)
    if found is None:
        events = [entry.event for entry in read_members(room)]
        joined = {event.member_id: _profile(event) for event in events if event.membership == "join"}
        found = RawJson("".join(encode(joined)))
        _profiles.put(key, found, len(found.text))
    return found


def _profile(event: Event) -> dict[str, str | None]:
    def text(key: str) -> str | None:
        value = event.content.get(key)
        return value if isinstance(value, str) else None

    return {"display_name": text("displayname"), "avatar_url": text("avatar_url")}


def read_others(room: Room) -> Sequence[StateEntry]:
    """Return the current state without membership events."""
    found = _recall(room, _OTHERS)
    if found is None:
        found = room_items.read_state_but_members(room.room_id, room.version)
        _remember(room, _OTHERS, found)
    return found


def _recall(room: Room, part: str) -> Sequence[StateEntry] | None:
    return _remembered.get((room.room_id, room.head.state_version, room.head.state_root, part))


def _remember(room: Room, part: str, entries: Sequence[StateEntry]) -> None:
    size = sum(entry.stored_bytes for entry in entries)
    key = (room.room_id, room.head.state_version, room.head.state_root, part)
    _remembered.put(key, tuple(entries), size)
