"""Retention: messages that are older than their room's lifetime lose everything except their place in the
log.

A room sets the lifetime by `m.room.retention`, within the server's limits. If the setting is off, nothing is
ever purged.

1. All rooms are visited once a day, in steps for which a function has time. A stopped purge continues with
the room at which it stopped.

2. In each room the log is read from the end of the last purge up to the first message that isn't old enough;
or from its beginning, if older events came from other servers since then. The time of an event is the one
that its sender claims. An event with a future time is purged with the next message after it.

3. State stays, and so do the events that new events follow: the newest message and the forward extremities.

4. An event is purged in one transaction with its relation to another event, on condition that it hasn't been
purged yet. So a purge may run twice or concurrently.

`storage.retention.purge_write` says what is left of an event.
"""

from __future__ import annotations

from contextlib import suppress

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.aws.reads import fetch
from murmuration.clock import DAY_MS, now_ms
from murmuration.protocol.event_types import RETENTION_KEY
from murmuration.rooms.lifecycle.lifetimes import Limits, lifetime_of
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage import retention
from murmuration.storage.retention import Purged
from murmuration.storage.rooms import event_store, relations, room_items
from murmuration.storage.rooms.room_items import LogEntry

PAGE = 100


def limits() -> Limits:
    """Return the server's limits for the lifetimes that rooms set."""
    chosen = settings()
    return Limits(
        default=chosen.retention_default_days * DAY_MS or None,
        shortest=chosen.retention_shortest_days * DAY_MS,
        longest=chosen.retention_longest_days * DAY_MS or None,
    )


def purge_rooms(*, budget_ms: int) -> int:
    """Purge the expired messages of each room until the time is over. Returns the number of purged events."""
    if not settings().retention:
        return 0
    deadline = now_ms() + budget_ms
    purged, after = 0, retention.read_place()
    while now_ms() < deadline:
        heads, more = retention.read_heads(after)
        for head in heads:
            purged += purge_room(Room(head), deadline)
        if now_ms() >= deadline:
            break
        after = more
        retention.write_place(after)
        if after is None:
            break
    return purged


def purge_room(room: Room, deadline: int) -> int:
    """Purge the expired messages of one room until the deadline. Returns the number of purged events."""
    event = room.event(*RETENTION_KEY)
    lifetime = lifetime_of(event.content if event is not None else None, limits())
    if lifetime is None:
        return 0
    purge = _Purge(room, now_ms() - lifetime)
    begun, oldest = fetch(retention.purged_read(room.room_id)), room.head.oldest
    # Events of the past that were fetched since then are below what was purged.
    place = oldest - 1 if begun is None or begun.oldest is None or oldest < begun.oldest else begun.ordinal
    while not purge.is_done and now_ms() < deadline:
        page = room_items.read_log_page(room.room_id, room.version, after=place, limit=PAGE)
        if not page:
            break
        purge.take(page)
        place = page[-1].ordinal
        reached = Purged(purge.reached, oldest) if purge.reached is not None else None
        if reached is not None and reached != begun:
            retention.write_purged(room.room_id, reached)
            begun = reached
    return purge.count


class _Purge:
    """The purge of one room's messages from before a given time. It takes the pages of the log in order."""

    def __init__(self, room: Room, before_ms: int) -> None:
        self.count = 0
        self.is_done = False
        self.reached: int | None = None
        """The ordinal up to which everything is purged that has to be."""
        self._room = room
        self._before_ms = before_ms
        self._newest: LogEntry | None = None  # old enough, but no later message is known yet
        self._early: list[LogEntry] = []  # with a future time: purged together with the next message
        self._followed: list[LogEntry] = []  # forward extremities, which are kept as long as they are that

    def take(self, page: list[LogEntry]) -> None:
        """Purge the old messages of a page. The first message that isn't old enough ends the purge."""
        for entry in page:
            event = entry.event
            if event.is_state or entry.purged or entry.withheld:
                continue
            if event.event_id in self._room.head.extremities or event.origin_server_ts > now_ms():
                self._purge(self._newest)
                self._newest = None
                is_early = event.event_id not in self._room.head.extremities
                (self._early if is_early else self._followed).append(entry)
            elif event.origin_server_ts < self._before_ms:
                for each in (*self._early, self._newest):
                    self._purge(each)
                self._newest, self._early = entry, []
            else:
                self._purge(self._newest)
                self._newest = None
                self._reach(entry.ordinal - 1)
                self.is_done = True
                return
        self._reach(page[-1].ordinal)

    def _reach(self, ordinal: int) -> None:
        waiting = [entry for entry in (*self._early, *self._followed, self._newest) if entry is not None]
        self.reached = min([ordinal, *(entry.ordinal - 1 for entry in waiting)])

    def _purge(self, entry: LogEntry | None) -> None:
        if entry is None:
            return
        writes = [retention.purge_write(entry)]
        if entry.redacted_because is None and (parents := relations.parents_of([entry])):
            ordinals = event_store.read_ordinals(parents, entry.room_id)
            writes += relations.relation_removals(entry, next(iter(ordinals.values()), None))
        with suppress(ConditionFailed):  # another run has purged it
            if len(writes) == 1:
                dynamodb.execute(writes[0])
            else:
                dynamodb.transact(writes)
            self.count += 1
