"""Auth chains: the events that authorise events, those that authorise them, and so on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from murmuration.federation.inbound.auth_chains import authorising_ids
from murmuration.federation.serving.answers import Size
from murmuration.protocol.events import Event
from murmuration.rooms.room import Room
from murmuration.storage.rooms import event_store

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId

MOST_LEVELS = 200


def auth_chain(
    room: Room, events: Iterable[Event], size: Size | None = None, *, known: Iterable[Event] = ()
) -> list[Event]:
    """Return the auth chains of events, each event once, the nearest first. Two round trips for each level.

    `known` are events that needn't be read. Raises Unavailable if the events exceed `size`.
    """
    size = size or Size()
    at_hand = {event.event_id: event for event in known}
    chain: dict[EventId, Event] = {}
    level = dict.fromkeys(event_id for event in events for event_id in authorising_ids(event))
    for _ in range(MOST_LEVELS):
        level = dict.fromkeys(event_id for event_id in level if event_id not in chain)
        if not level:
            break
        unread = [event_id for event_id in level if event_id not in at_hand]
        read = event_store.read(unread, room.version, room.room_id) if unread else {}
        events_read = {it: stored.event for it, stored in read.items() if stored.room_id == room.room_id}
        both = {**events_read, **at_hand} if events_read else at_hand
        found = {event_id: both[event_id] for event_id in level if event_id in both}
        for event in found.values():
            size.require(len(event.to_json()))
        chain |= found
        level = dict.fromkeys(event_id for event in found.values() for event_id in authorising_ids(event))
    return list(chain.values())
