"""Backfilling: old events get their places before the log's beginning or in its gaps.

They were part of the room before this server was in it, or while it was unreachable. So they don't change the
current state. They are judged only by their position in the graph. An event is taken only if an event of the
log follows it, directly or through others; so a server can't add other events as the past.
https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.federation.inbound.auth_chains import valid_events
from murmuration.federation.inbound.elsewhere import MissingEvents, Pdu, RemoteServers
from murmuration.federation.inbound.forks import Forks
from murmuration.federation.inbound.graph import ancestors_first
from murmuration.federation.inbound.reception import Received, Reception
from murmuration.protocol.errors import MatrixError, Unavailable
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.protocol.pdus.validation import Outcome, PolicyServer, check_on_receipt
from murmuration.rooms.room import Room
from murmuration.rooms.writing.changes import Changes
from murmuration.rooms.writing.gaps import Places
from murmuration.rooms.writing.redactions import REDACTION_STATE, takes_effect
from murmuration.rooms.writing.settling import settle
from murmuration.storage.live.streams import pause
from murmuration.storage.rooms import event_store
from murmuration.storage.rooms.event_store import Follower, Kind, StoredEvent
from murmuration.storage.rooms.room_items import LogEntry

ATTEMPTS = 60
_AT_ONCE = 15
"""The maximum number of events in one transaction; each takes about four writes."""


def backfill(room_id: RoomId, pdus: Iterable[Pdu], remote: RemoteServers) -> list[Received]:
    """Store old events. Returns the outcome of each that was new and not dropped.

    Raises NotFound for an unknown room or one without local users, Unavailable if contention doesn't end.
    """
    pdus = list(pdus)
    done: list[Received] = []
    for attempt in range(ATTEMPTS):
        try:
            room = settle(Room.load(room_id))
            room.require_residency()
            _Backfill(room, remote, done).run(pdus)
            return done
        except ConditionFailed:
            pause(attempt)
    raise Unavailable("Too many requests change the room at once; try again")


class _Backfill:
    """One attempt. If another is needed, what was written stays written and is in `done`."""

    def __init__(self, room: Room, remote: RemoteServers, done: list[Received]) -> None:
        self.room = room
        self.remote = remote
        self.done = done
        self.forks = Forks(room.room_id, room.version)

    def run(self, pdus: Sequence[Pdu]) -> None:
        receptions = self._judge(self._past(valid_events(self.forks, pdus, limit_references=False)))
        self._put_in_place(receptions)
        accepted = [it for it in receptions if it.kind == "accepted" and it.place is not None]
        for start in range(0, len(accepted), _AT_ONCE):
            later = {it.event_id for it in accepted[start + _AT_ONCE :]}
            self._write(accepted[start : start + _AT_ONCE], later)
        for reception in receptions:
            if reception.kind == "rejected":
                reception.keep(reception.stored)
                self.done.append(reception.received)

    def _past(self, events: Mapping[EventId, Event]) -> list[Event]:
        """Return the new events that known events follow, the oldest first."""
        known = self.forks.stored(events)
        new = {
            event_id: event
            for event_id, event in sorted(events.items(), key=_by_time)
            if event_id not in known or not known[event_id].is_placed
        }
        self.awaited = event_store.read_awaited(self.room.room_id, new)
        past: set[EventId] = set()
        pending = [event_id for event_id in new if self.awaited[event_id].is_followed]
        while pending:
            event_id = pending.pop()
            if event_id in new and event_id not in past:
                past.add(event_id)
                pending += new[event_id].prev_events
        return [event for event in ancestors_first(new, _previous) if event.event_id in past]

    def _judge(self, events: Sequence[Event]) -> list[_PastReception]:
        """Return the events that aren't dropped, the newest first. Each is judged with those before
        it known.
        """
        batch: dict[EventId, _PastReception] = {}
        for event in events:
            reception = _PastReception(self.room, event, self.remote, self.forks, batch)
            reception.awaited = self.awaited[event.event_id]
            try:
                judgement = check_on_receipt(event.pdu, self.room.version, reception, limit_references=False)
                root = reception.root_before(judgement.event)
            except (MatrixError, MissingEvents):
                continue
            kind: Kind = "rejected" if judgement.outcome is Outcome.REJECTED else "accepted"
            reason = judgement.reason.message if judgement.reason is not None else ""
            reception.stored = StoredEvent(judgement.event, self.room.room_id, kind, root, reason=reason)
            self.forks.learn({event.event_id: reception.stored})
            batch[event.event_id] = reception
        for event_id, reception in batch.items():
            if (target := batch.get(reception.stored.event.redacts or EventId(""))) is not None:
                target.awaited = replace(target.awaited, redactions=(*target.awaited.redactions, event_id))
        return list(reversed(batch.values()))

    def _put_in_place(self, receptions: Sequence[_PastReception]) -> None:
        """Give each event its place, the newest first: right before the lowest event that follows it."""
        places = Places(self.room.room_id)
        followers: dict[str, list[Follower]] = {}
        for reception in receptions:
            known = followers.get(reception.event_id, [])
            if reception.awaited.follower is not None:
                known = [*known, reception.awaited.follower]
            elif reception.awaited.is_followed and not known:
                oldest = self.room.head.oldest
                known = [Follower(oldest, oldest)]
            if not known:
                continue
            lowest = min(known)
            if reception.kind == "accepted":
                ordinal = places.before(lowest)
                reception.place = Follower(ordinal, lowest.below) if ordinal is not None else None
            else:
                reception.place = lowest
            if reception.place is not None:
                for event_id in reception.stored.event.prev_events:
                    followers.setdefault(event_id, []).append(reception.place)

    def _write(self, receptions: Sequence[_PastReception], later: Collection[str]) -> None:
        """Write events together. Those of `later` are written after them, and noted as missing until then."""
        changes = Changes(self.room.version, self.room)
        entries = []
        missing: dict[EventId, Follower] = {}
        for reception in receptions:
            place = reception.place
            if place is None:
                continue
            event = reception.stored.event
            entries.append(reception.make_entry(changes, event, place.ordinal, below=place.below))
            changes.retire(reception.retired(event))
            for event_id in [*reception.gaps, *(it for it in event.prev_events if it in later)]:
                missing[event_id] = min(place, missing.get(event_id, place))
        known = event_store.read_followers(self.room.room_id, missing)
        changes.also(
            *(
                event_store.gap_replacement(self.room.room_id, event_id, place)
                for event_id, place in missing.items()
                if event_id not in known or place < known[event_id]
            )
        )
        roots = [entry.state_root for entry in entries]
        for entry in entries:
            changes.precede(entry, self.forks.unstored(roots))
        changes.also(*self.forks.resolution_writes(roots))
        self.room = changes.commit()
        self.done += [reception.received for reception in receptions]


class _PastReception(Reception):
    """The reception of an old event together with others (`batch`, by event ID)."""

    def __init__(
        self,
        room: Room,
        event: Event,
        remote: RemoteServers,
        forks: Forks,
        batch: Mapping[EventId, _PastReception],
    ) -> None:
        super().__init__(room, event, remote)
        self.forks = forks
        self.batch = batch
        self.stored: StoredEvent
        self.place: Follower | None = None

    @property
    def kind(self) -> str:
        return self.stored.kind

    @property
    def received(self) -> Received:
        return Received(self.event_id, self.stored.kind, self.stored.reason)

    def current_state(self, event: Event) -> Mapping[StateKey, Event]:
        return self.state_before(event)

    def policy_server(self, event: Event) -> PolicyServer | None:  # noqa: ARG002 - the past knew of none
        return None

    def carry_out(self, changes: Changes, entry: LogEntry) -> LogEntry:
        """Redact a target that is in the same batch: it is written in its redacted form, now or later."""
        target = self.batch.get(entry.event.redacts or EventId(""))
        if target is None:
            return super().carry_out(changes, entry)
        changes.also(event_store.hold_redaction_write(self.room.room_id, target.event_id, self.event_id))
        state = self.state_at(entry.state_root, REDACTION_STATE)
        return replace(entry, withheld=not takes_effect(entry.event, target.stored.event, state))


def _by_time(item: tuple[str, Event]) -> tuple[int, int, str]:
    event_id, event = item
    return event.depth, event.origin_server_ts, event_id


def _previous(event: Event) -> tuple[EventId, ...]:
    return event.prev_events
