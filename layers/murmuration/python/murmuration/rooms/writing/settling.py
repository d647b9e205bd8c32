"""Settling: updates the items of a room's current state to match its head.

Usually the transaction that moves the head does it. If forks have drifted far apart, more state changes at
once than fits into a transaction. Then the head moves first, and names the snapshot that the items still have
(`RoomHead.unsettled`). Until they are settled nobody appends to the room, every writer helps, and sync skips
the room.

The changes between the two snapshots have a fixed order. Each transaction makes the next few of them and
counts them in the head (`RoomHead.settled_count`), on condition that the count is unchanged. So each change
is made once, by whichever writer comes first, and a stopped attempt loses no work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.clock import now_ms
from murmuration.protocol import state_trie
from murmuration.protocol.errors import Unavailable
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, UserId
from murmuration.rooms.room import Room
from murmuration.rooms.writing.state_changes import membership_row_write, state_item_write
from murmuration.storage.live.streams import pause
from murmuration.storage.rooms import event_store, member_index, room_items, snapshots
from murmuration.storage.rooms.room_items import RoomHead, StateEntry

BUDGET_MS = 10_000
"""How long a request may spend on settling. A worker may take longer."""
_AT_ONCE = 24
"""How many changes one transaction makes, each with up to four writes: with events of 64 KB it stays below 4
MB."""
_READ_AT_ONCE = 10 * _AT_ONCE

_Change = tuple[StateKey, tuple[EventId | None, EventId | None]]


def settle(room: Room, *, budget_ms: int = BUDGET_MS) -> Room:
    """Settle the room's state, build its member index if needed, and return the room.

    Raises Unavailable if that takes longer than `budget_ms`; the next attempt continues.
    """
    if room.head.unsettled is None and room.head.is_indexed:
        return room
    deadline = now_ms() + budget_ms
    for attempt in range(1_000_000):
        if room.head.unsettled is None and room.head.is_indexed:
            return room
        try:
            if room.head.unsettled is not None:
                _settle(room.head, deadline)
            else:
                member_index.build(room.head)
        except ConditionFailed:
            pause(min(attempt, 5))
        room = Room.load(room.room_id)
        if now_ms() >= deadline and not (room.head.unsettled is None and room.head.is_indexed):
            break
    raise Unavailable("Too many requests change the room at once; try again")


def _settle(head: RoomHead, deadline: int) -> None:
    """Make the remaining changes until the deadline. Raises ConditionFailed if another writer made some of
    them.
    """
    fetch = snapshots.fetch_from(head.room_id)
    changes = sorted(
        state_trie.diff(head.unsettled or state_trie.EMPTY, head.state_root, fetch).items(),
        key=lambda change: room_items.state_sk(change[0]),
    )
    done = head.settled_count or 0
    while done < len(changes):
        some = changes[done : done + _READ_AT_ONCE]
        events = _read_events(head, some)
        for start in range(0, len(some), _AT_ONCE):
            part = some[start : start + _AT_ONCE]
            progress = room_items.settling_write(head, done, done + len(part))
            dynamodb.transact([progress, *_writes(head, part, events)])
            done += len(part)
            if now_ms() >= deadline and done < len(changes):
                return
    dynamodb.execute(room_items.settled_write(head))


def _read_events(head: RoomHead, changes: Sequence[_Change]) -> dict[EventId, Event]:
    wanted = {event_id for _, pair in changes for event_id in pair if event_id is not None}
    return event_store.read_events(sorted(wanted), head.version, head.room_id)


def _writes(head: RoomHead, changes: Sequence[_Change], events: Mapping[EventId, Event]) -> list[Write]:
    """Return the writes that make these changes."""
    room_id, version = head.room_id, head.version
    fetch = snapshots.fetch_from(room_id)

    def state(pairs: Iterable[StateKey]) -> Mapping[StateKey, Event]:
        ids = state_trie.get(head.state_root, pairs, fetch)
        missing = [event_id for event_id in ids.values() if event_id not in events]
        found = {**events, **event_store.read_events(missing, version, room_id)}
        return {pair: found[event_id] for pair, event_id in ids.items() if event_id in found}

    writes: list[Write] = []
    moves: dict[UserId, member_index.MembershipChange] = {}
    for pair, (old_id, new_id) in changes:
        new = events[new_id] if new_id is not None else None
        entry = StateEntry(new, head.ordinal) if new is not None else None
        writes.append(state_item_write(room_id, pair, entry))
        if pair[0] == MEMBER:
            previous = events[old_id].membership if old_id is not None else None
            moves[UserId(pair[1])] = (previous, new.membership if new is not None else None)
            row = membership_row_write(room_id, UserId(pair[1]), new, previous, head.ordinal, state)
            writes += [row] if row is not None else []
    return [*writes, *(member_index.writes(room_id, moves) if head.is_indexed else ())]
