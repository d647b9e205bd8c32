"""Decides which events a server may see whole, and which only in redacted form.

The history visibility at an event decides, together with the memberships of the server's users at that event.
A server in the room may see what its users could see. Events of an erased user are whole only for servers
that were in the room at the time.
https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.protocol import state_trie
from murmuration.protocol.event_types import HISTORY_VISIBILITY_KEY, MEMBER
from murmuration.protocol.events import StateKey
from murmuration.protocol.identifiers import EventId, ServerName, server_name_of, server_of
from murmuration.protocol.state_trie import NodeId
from murmuration.protocol.visibility import Visibility, server_may_see, visibility_of
from murmuration.rooms.reading.erasures import event_copy
from murmuration.rooms.room import Room
from murmuration.storage.rooms import erasures, event_store, member_index, snapshots
from murmuration.storage.rooms.event_store import StoredEvent

if TYPE_CHECKING:
    from murmuration.protocol.pdus.shapes import Pdu
    from murmuration.storage.rooms.room_items import StateEntry

_OPEN = ("world_readable", "shared")
_MOST_USERS = 100


def pdus_for(room: Room, origin: ServerName, events: Sequence[StoredEvent]) -> list[Pdu]:
    """Return the PDUs of events of one room, in their order; those that `origin` may not see are redacted.

    Purged events are left out. If the history is shared, nothing is read; else it takes a few round trips for
    all events together.
    """
    events = [stored for stored in events if stored.entry is None or not stored.entry.purged]
    before = {stored.event.event_id: _visibility(room, stored) for stored in events}
    hidden = frozenset(erasures.read(room.room_id, room.head.erasures)) if room.head.erasures else frozenset()
    closed = [
        it
        for it in events
        if it.state_root is not None and (before[it.event.event_id] not in _OPEN or it.event.sender in hidden)
    ]
    memberships = _memberships(room, origin, {it.state_root for it in closed if it.state_root is not None})
    current = room.entries(pair for it in closed if (pair := it.event.state_pair) is not None)
    pdus = []
    for stored in events:
        event = stored.event
        seen: set[str] = set(memberships.get(stored.state_root or b"", ()))
        if event.membership is not None and server_of(event.member_id) == origin:
            seen.add(event.membership)
        if not (_is_of_given_state(stored, current) or _may_see(stored, before[event.event_id], seen)):
            event = event.redacted()
        elif "join" not in seen:
            event = event_copy(event, hidden)
        pdus.append(event.pdu)
    return pdus


def _is_of_given_state(stored: StoredEvent, current: Mapping[StateKey, StateEntry]) -> bool:
    """Return whether an event is in a state that any server in the room may get.

    An event without a place is known only as part of such a state.
    """
    event = stored.event
    if event.state_pair is None or stored.state_root is None:
        return event.is_state
    return event.state_pair in current and current[event.state_pair].event.event_id == event.event_id


def _may_see(stored: StoredEvent, before: Visibility, seen: Collection[str]) -> bool:
    """Return whether a server may see an event whose place is known; `seen` are its users' memberships.

    A change of the history visibility may be seen if the visibility before or after it allows that.
    """
    event = stored.event
    if stored.state_root is None and not event.is_state:
        return False
    visibilities = [before]
    if event.state_pair == HISTORY_VISIBILITY_KEY:
        visibilities.append(visibility_of(event.content))
    return any(server_may_see(visibility, seen) for visibility in visibilities)


def _visibility(room: Room, stored: StoredEvent) -> Visibility:
    """Return the history visibility before an event."""
    if stored.entry is not None:
        return visibility_of({"history_visibility": stored.entry.visibility})
    if stored.state_root is None:
        return "joined"
    fetch = snapshots.fetch_from(room.room_id)
    event_id = state_trie.get(stored.state_root, [HISTORY_VISIBILITY_KEY], fetch).get(HISTORY_VISIBILITY_KEY)
    events = event_store.read_events([event_id], room.version, room.room_id) if event_id is not None else {}
    return visibility_of(events[event_id].content if event_id in events else None)


def _memberships(room: Room, origin: ServerName, roots: Iterable[NodeId]) -> dict[NodeId, set[str]]:
    """Return the memberships, other than leave, that the server's users had in each of these states.

    Users who are in the room now are looked up first. Only if none of them was joined is a whole state read,
    for users who have left since.
    """
    wanted = list(roots)
    if not wanted:
        return {}
    fetch = snapshots.fetch_from(room.room_id)
    users = member_index.read_of_server(room.head, origin, limit=_MOST_USERS)
    pairs: list[StateKey] = [(MEMBER, user_id) for user_id in users]
    by_root = dict(zip(wanted, state_trie.get_many([(it, pairs) for it in wanted], fetch), strict=True))
    found = _said(room, by_root)
    unclear = [root for root in wanted if "join" not in found[root]]
    for root in unclear:
        by_root[root] = {
            pair: event_id
            for pair, event_id in state_trie.items(root, fetch).items()
            if pair[0] == MEMBER and server_name_of(pair[1]) == origin
        }
    return found | _said(room, {root: by_root[root] for root in unclear})


def _said(room: Room, by_root: dict[NodeId, dict[StateKey, EventId]]) -> dict[NodeId, set[str]]:
    """Return the memberships in the member events of each state."""
    ids = list(dict.fromkeys(event_id for state in by_root.values() for event_id in state.values()))
    events = event_store.read_events(ids, room.version, room.room_id) if ids else {}
    said = {event_id: event.membership or "leave" for event_id, event in events.items()}
    return {
        root: {said[event_id] for event_id in state.values() if event_id in said}
        for root, state in by_root.items()
    }
