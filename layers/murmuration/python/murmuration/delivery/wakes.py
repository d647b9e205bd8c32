"""From a change in a table to the devices that wait for it. A ring is a hint: repeating one does no harm."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from murmuration.settings import settings
from murmuration.storage import dynamodb, listeners, room_items, wake_queues
from murmuration.storage.cache import LruCache

_members: LruCache[tuple[str, int], tuple[str, ...]] = LruCache(256)
"""The joined members from this server, by room and state version."""


def wake_for_log_entry(item: Mapping[str, Any]) -> None:
    """Ring for an event of a room's log: its members, and whose membership it changes."""
    users = set(local_members(item["room_id"]))
    if item.get("member"):
        users.add(item["member"])
    ring_users(users)


def wake_for_stream_item(item: Mapping[str, Any]) -> None:
    """Ring for a change in a stream: a room's members, a user's devices, or one device."""
    kind, _, owner = item["stream_id"].partition(":")
    if kind == "room":
        ring_users(local_members(owner))
    elif kind == "user":
        ring_users([owner])
    else:
        user_id, _, device_id = owner.partition("/")
        ring_devices([pair for pair in listeners.read_listening([user_id]) if pair[1] == device_id])


def local_members(room_id: str) -> tuple[str, ...]:
    """The joined users of this server; read once for each state of the room."""
    head = room_items.read_head(room_id)
    if head is None:
        return ()
    key = (room_id, head.state_version)
    members = _members.get(key)
    if members is None:
        entries = room_items.read_state_of_type(room_id, head.version, "m.room.member")
        joined = [entry.event.state_key or "" for entry in entries if entry.event.membership == "join"]
        members = tuple(user for user in joined if user.partition(":")[2] == settings().server_name)
        _members.put(key, members)
    return members


def ring_users(user_ids: Iterable[str]) -> None:
    """Ring the devices of these users that may be waiting."""
    wanted = list(dict.fromkeys(user_ids))
    if wanted:
        ring_devices(listeners.read_listening(wanted))


def ring_devices(devices: Iterable[tuple[str, str]]) -> None:
    dynamodb.parallel(*(functools.partial(wake_queues.ring, *device) for device in devices))
