"""The state of a room before an event: whole events, or only their IDs.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.federation.serving.access import find_placed_event, open_room, take_state_request
from murmuration.federation.serving.answers import Packed, Size, packed
from murmuration.federation.serving.chains import auth_chain
from murmuration.protocol import state_trie
from murmuration.protocol.events import Event
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms.room import Room
from murmuration.storage.rooms import event_store, room_items, snapshots

if TYPE_CHECKING:
    from murmuration.federation.shapes import StateAnswer, StateIdsAnswer
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName

FEW = 30
"""If a state has at most this many events, they are read one by one."""


def get_state(origin: ServerName, room_id: RoomId, event_id: EventId, *, gzip: bool) -> Packed:
    """Return the state before an event, and the auth chains of its events.

    Raises NotFound, Forbidden, LimitExceeded; Unavailable for a state that is too large to be sent.
    """
    state, chain = _read(origin, room_id, event_id)
    answer: StateAnswer = {"pdus": [it.pdu for it in state], "auth_chain": [it.pdu for it in chain]}
    return packed(answer, gzip=gzip)


def get_state_ids(origin: ServerName, room_id: RoomId, event_id: EventId, *, gzip: bool) -> Packed:
    """Return what `get_state` returns, with the events' IDs instead of the events."""
    state, chain = _read(origin, room_id, event_id)
    ids, chain_ids = [it.event_id for it in state], [it.event_id for it in chain]
    answer: StateIdsAnswer = {"pdu_ids": ids, "auth_chain_ids": chain_ids}
    return packed(answer, gzip=gzip)


def _read(origin: ServerName, room_id: RoomId, event_id: EventId) -> tuple[list[Event], list[Event]]:
    room = open_room(room_id, origin)
    stored = find_placed_event(room, event_id)
    take_state_request(origin)
    size = Size()
    state = state_events(room, stored.state_root or state_trie.EMPTY)
    for event in state:
        size.require(len(event.to_json()))
    return state, auth_chain(room, state, size, known=state)


def state_events(room: Room, root: NodeId) -> list[Event]:
    """Return the events of a snapshot. Those that are current come from one query, the others are read by
    ID.
    """
    fetch = snapshots.fetch_from(room.room_id)
    ids = state_trie.items(root, fetch) if root != state_trie.EMPTY else {}
    found: dict[EventId, Event] = {}
    if len(ids) > max(FEW, room.head.joined // 4):
        wanted = set(ids.values())
        entries = room_items.read_state_of_type(room.room_id, room.version)
        found = {it.event.event_id: it.event for it in entries if it.event.event_id in wanted}
    missing = [event_id for event_id in ids.values() if event_id not in found]
    read = event_store.read(missing, room.version, room.room_id) if missing else {}
    found |= {event_id: stored.event for event_id, stored in read.items()}
    return [found[event_id] for event_id in ids.values() if event_id in found]
