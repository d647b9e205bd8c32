"""Entering a room that other servers are in: stores the state that a server sent, and the local user's join
after it.

- A new room begins with the join, after a gap. Its state is a snapshot, its other events are outliers.
- A room that this server was in before continues with the join, after a gap. Its former newest events are no
  longer forward extremities, because the state that was sent is later than they are.
- In a room that this server is in, the join is received as a fork. If the room is rejoined, it continues as
  if this server had been away.

Events and nodes are stored first; nothing refers to them until one transaction moves the head. The items of a
large state are then written by `settle`, which continues where another attempt stopped.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.federation.inbound.auth_chains import keep_outlier
from murmuration.federation.inbound.forks import Forks
from murmuration.federation.membership.answers import Entry
from murmuration.protocol.errors import Unavailable
from murmuration.protocol.event_types import HISTORY_VISIBILITY_KEY, MEMBER
from murmuration.protocol.identifiers import EventId
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms.room import Room
from murmuration.rooms.writing.changes import Changes, Differences, replaced_by, visibility_by
from murmuration.rooms.writing.settling import settle
from murmuration.storage.live.streams import pause
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.rooms.event_store import Follower, StoredEvent
from murmuration.storage.rooms.room_items import LogEntry

ATTEMPTS = 60
SETTLING_MS = 600_000


def enter(entry: Entry, *, afresh: bool = False) -> None:
    """Write the room with the join. Doing so again changes nothing. Raises Unavailable.

    `afresh` is for a room that this server is in already: the state in the other server's answer replaces the
    state known here, as it does for a room that this server had left, instead of being resolved with it.
    """
    room_id, version = entry.join.room_id, entry.join.room_version
    _keep_events(entry)
    for attempt in range(ATTEMPTS):
        head = room_items.read_head(room_id)
        room = settle(Room(head), budget_ms=SETTLING_MS) if head is not None else None
        forks = Forks(room_id, version)
        forks.learn(
            {event_id: StoredEvent(event, room_id, "outlier") for event_id, event in entry.events.items()}
        )
        placed = event_store.read([entry.join.event_id], version, room_id).get(entry.join.event_id)
        if placed is not None and placed.is_placed and room is not None:
            return
        try:
            _changes(room, forks, entry, afresh=afresh).commit()
        except (ConditionFailed, Unavailable):
            # Another writer was quicker, or the join is written and the state's items are still being
            # written.
            pause(attempt)
    raise Unavailable("Too many requests change the room at once; try again")


def _keep_events(entry: Entry) -> None:
    """Store the unknown events as outliers."""
    room_id = entry.join.room_id
    known = event_store.known_among(entry.events, room_id)
    fresh = [event for event_id, event in entry.events.items() if event_id not in known]
    concurrency.parallel(
        *(functools.partial(keep_outlier, StoredEvent(event, room_id, "outlier")) for event in fresh)
    )


def _changes(room: Room | None, forks: Forks, entry: Entry, *, afresh: bool) -> Changes:
    """Return the changes that add the join to the room, with the state that the other server sent
    before it.
    """
    join, room_id = entry.join, entry.join.room_id
    changes = Changes(join.room_version, room, room_id)
    root = forks.build(entry.state)
    own = StoredEvent(join, room_id, "accepted", root)
    forks.learn({join.event_id: own})
    missing = _missing(room, forks, join.prev_events)
    if missing and room is not None:
        changes.leave_gap()
    ordinal = changes.next_ordinal
    logged = _logged(entry, ordinal, root, after_gap=bool(missing))
    if room is None:
        _begin(changes, forks, entry, logged, forks.after(own))
    else:
        _go_on(changes, forks, room, own, logged, afresh=afresh)
    place = Follower(ordinal, ordinal)
    changes.also(*(event_store.gap_write(room_id, event_id, place) for event_id in missing))
    return changes


def _logged(entry: Entry, ordinal: int, root: NodeId, *, after_gap: bool) -> LogEntry:
    """Return the log entry of the join. `root` is the state before it, as the other server sent it."""
    before = entry.events.get(entry.state.get((MEMBER, entry.join.state_key or ""), EventId("")))
    visibility = entry.events.get(entry.state.get(HISTORY_VISIBILITY_KEY, EventId("")))
    return LogEntry(
        ordinal,
        entry.join,
        root,
        visibility_by(visibility),
        replaced=replaced_by(before),
        after_gap=after_gap,
        distributed=True,
    )


def _begin(changes: Changes, forks: Forks, entry: Entry, logged: LogEntry, after: NodeId) -> None:
    """Make the join the first event of an unknown room. `after` is the state after it."""
    join = entry.join
    state = {**entry.state, (MEMBER, join.state_key or ""): join.event_id}
    differences: Differences = {
        each: (None, join if event_id == join.event_id else entry.events[event_id])
        for each, event_id in state.items()
    }
    changes.merge(logged, after, forks.unstored([logged.state_root, after]), differences)


def _go_on(
    changes: Changes, forks: Forks, room: Room, own: StoredEvent, logged: LogEntry, *, afresh: bool
) -> None:
    """Add the join to a known room. The room's state is resolved, unless it begins afresh."""
    head, join, root, after = room.head, own.event, logged.state_root, forks.after(own)
    if head.is_stale or afresh:
        changes.follow(head.extremities)
    else:
        others = [event_id for event_id in head.extremities if event_id not in join.prev_events]
        after = forks.resolve([*forks.after_all(others), after])
        changes.follow(join.prev_events)
    expected = forks.after(replace(own, state_root=head.state_root))
    logged = replace(
        logged,
        room_root=head.state_root if head.state_root != root else None,
        resolved=after != expected,
    )
    nodes = forks.unstored([root, after])
    changes.merge(logged, after, nodes, forks.differences(head.state_root, after))
    changes.also(*forks.resolution_writes([root, after]))


def _missing(room: Room | None, forks: Forks, event_ids: Sequence[EventId]) -> list[EventId]:
    """Return those of the events whose place in the room's graph isn't known."""
    if room is None:
        return list(event_ids)
    known = forks.stored(event_ids)
    return [it for it in event_ids if it not in known or not known[it].is_placed]
