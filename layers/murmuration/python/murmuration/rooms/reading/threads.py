"""Threads: finds the thread of an event. https://spec.matrix.org/v1.19/client-server-api/#threading"""

from __future__ import annotations

from collections.abc import Mapping

from murmuration.protocol.events import Event
from murmuration.rooms.lookup import find_entry
from murmuration.rooms.room import Room
from murmuration.storage.rooms import relations
from murmuration.storage.rooms.room_items import LogEntry

MAIN = "main"
_HOPS = 3


def is_in_thread(room: Room, entry: LogEntry, thread_id: str) -> bool:
    """Return whether a receipt for the event may name this thread: `main` or a root's event ID.

    It follows relations for up to three hops, with one read for each. A root, and events that relate to it in
    other ways, are in the main timeline; a receipt in the root's own thread may name them too.
    """
    ancestors = [entry.event.event_id]
    for hop in range(_HOPS + 1):
        parent = relations.parent_of(entry.event)
        if parent is None:
            break
        parent_id, rel_type = parent
        if rel_type == relations.THREAD:
            return thread_id == parent_id
        ancestors.append(parent_id)
        next_entry = find_entry(room, parent_id) if hop < _HOPS else None
        if next_entry is None:
            break
        entry = next_entry
    return thread_id == MAIN or thread_id in ancestors


def thread_of(event: Event) -> str:
    """Return the thread of an event, by its content: the root's ID, or MAIN."""
    relates_to = event.content.get("m.relates_to")
    if isinstance(relates_to, Mapping) and relates_to.get("rel_type") == "m.thread":
        root = relates_to.get("event_id")
        if isinstance(root, str):
            return root
    return MAIN
