"""Settling: bringing the items of a room's current state to where its head says they are.

Mostly they get there in the transaction that moves the head. Where forks have drifted far apart, more of the
state changes at once than a transaction holds. Then the head moves first and says from which snapshot the
items are on their way (`RoomHead.unsettled`); until they have arrived nobody appends to the room, whoever
wants to helps, and sync leaves the room for later. Each part of the way is conditioned on the head, so that
a helper who is late writes nothing; taking one twice does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.protocol import state_trie
from murmuration.protocol.errors import Unavailable
from murmuration.protocol.events import Event, StateKey
from murmuration.rooms.room import Room
from murmuration.rooms.writing.state_changes import membership_row_write, state_item_write
from murmuration.storage.live.streams import pause
from murmuration.storage.rooms import room_items, snapshots
from murmuration.storage.rooms.room_items import RoomHead, StateEntry

_ATTEMPTS = 40
_AT_ONCE = 25
"""Writes of one transaction: with events of 64 KB it has to stay below 4 MB."""
_MEMBER = "m.room.member"


def settle(room: Room) -> Room:
    """The room with its state in place; at once if it is. Raises Unavailable when it stays contended."""
    for attempt in range(_ATTEMPTS):
        if room.head.unsettled is None:
            return room
        try:
            _settle_once(room.head)
        except ConditionFailed:
            pause(attempt)
        room = Room.load(room.room_id)
    raise Unavailable("The room is too busy; try again")


def _settle_once(head: RoomHead) -> None:
    check = room_items.unsettled_check(head)
    writes = _writes(head)
    for start in range(0, len(writes), _AT_ONCE):
        dynamodb.transact([check, *writes[start : start + _AT_ONCE]])
    dynamodb.execute(room_items.settled_write(head))


def _writes(head: RoomHead) -> list[Write]:
    """What brings the items all the way."""
    room_id, version = head.room_id, head.version
    fetch = snapshots.fetch_from(room_id)
    changes = state_trie.diff(head.unsettled or state_trie.EMPTY, head.state_root, fetch)
    wanted = {event_id for pair in changes.values() for event_id in pair if event_id is not None}
    events = room_items.read_events(sorted(wanted), version)

    def state(pairs: Iterable[StateKey]) -> Mapping[StateKey, Event]:
        ids = state_trie.get(head.state_root, pairs, fetch)
        found = events | room_items.read_events([it for it in ids.values() if it not in events], version)
        return {pair: found[event_id] for pair, event_id in ids.items() if event_id in found}

    writes: list[Write] = []
    for pair, (old_id, new_id) in changes.items():
        new = events[new_id] if new_id is not None else None
        entry = StateEntry(new, head.ordinal) if new is not None else None
        writes.append(state_item_write(room_id, pair, entry))
        if pair[0] == _MEMBER:
            previous = events[old_id].membership if old_id is not None else None
            row = membership_row_write(room_id, pair[1], new, previous, head.ordinal, state)
            writes += [row] if row is not None else []
    return writes
