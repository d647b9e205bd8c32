"""Works through queued PDUs of one room, in the order of the graph.

- Known events are skipped, with one read for all.
- The keys for all signatures are looked up together, then each event is received (`receiving`).
- An event that can't be judged now, because keys or other events can't be fetched, is parked and tried again
  later. So is an event about which the room's policy server gave no answer; it is soft-failed until then.
- An event with any other fault is dropped, and the others are still processed.

A worker may stop at any point and run twice: each event is recognised by its ID, and the message comes again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.federation.inbound import acls
from murmuration.federation.inbound.asking import Asking
from murmuration.federation.inbound.auth_chains import signing_times
from murmuration.federation.inbound.elsewhere import MissingEvents
from murmuration.federation.inbound.graph import ancestors_first
from murmuration.federation.inbound.receiving import receive
from murmuration.federation.inbound.transactions import counting, queueing
from murmuration.identity import rate_limits
from murmuration.protocol.errors import LimitExceeded, MatrixError, NotFound, Unavailable
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, server_of
from murmuration.protocol.pdus.event_format import parse_pdu
from murmuration.protocol.pdus.hashing import verify_content_hash
from murmuration.protocol.pdus.keys import KeyRing
from murmuration.protocol.pdus.signing import key_ids_of
from murmuration.protocol.pdus.validation import required_signers
from murmuration.rooms.room import Room
from murmuration.rooms.writing.settling import settle
from murmuration.storage.rooms import event_store
from murmuration.storage.servers import parked_pdus
from murmuration.transport.deadlines import Deadline

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject

SECONDS = 45.0
"""After this time the remaining PDUs of a message are queued again, before the function's own time is
over."""
MOST_RETRIED = 100


def work(message: JsonObject) -> Counter[str]:
    """Receive the PDUs of a message (`queueing`). Returns the number of PDUs for each outcome.

    A message may instead have receipts that wait for their events (`federation.ephemera.taking`), or order
    that a device list is fetched (`federation.devices.resyncing`). Raises Unavailable if the room is too
    busy, and what the storage raises: then the message comes again.
    """
    if "device_list" in message:
        from murmuration.federation.devices.resyncing import resync

        resync(message["device_list"])
        return Counter()
    origin, room_id = message["origin"], message["room_id"]
    if "receipts" in message:
        from murmuration.federation.ephemera.taking import take_queued_receipts

        take_queued_receipts(origin, room_id, message["receipts"], parked=bool(message.get("parked")))
        return Counter()
    outcomes = _Outcomes(room_id, origin, bool(message.get("parked")))
    try:
        room = settle(Room.load(room_id))
        room.require_residency()
    except NotFound:
        return _end_invites(message["pdus"], origin, outcomes)
    if not acls.is_allowed(room, origin):
        return outcomes.drop_all(message["pdus"], "denied_by_acl")
    _Work(room, origin, outcomes).run(message["pdus"])
    return outcomes.finish()


def origin_of(message: JsonObject) -> ServerName:
    """Return the server that a message concerns: the sender of the PDUs, or the server of the device list's
    user.
    """
    if "device_list" in message:
        return server_of(message["device_list"])
    return ServerName(str(message["origin"]))


def _end_invites(pdus: Sequence[object], origin: ServerName, outcomes: _Outcomes) -> Counter[str]:
    """End invites and knocks of local users in a room that this server isn't in, if the PDUs do that."""
    from murmuration.federation.membership.rescinding import take_leave

    ended = sum(take_leave(pdu, origin) for pdu in pdus)
    outcomes.counts += Counter(accepted=ended, not_our_room=len(pdus) - ended)
    return outcomes.finish()


def retry_parked() -> int:
    """Queue the parked PDUs that are due, and drop those that have waited for a day. Returns how many were
    queued.

    The next attempt is postponed before the PDU is queued. So two schedules don't queue it twice, and if one
    stops in between, the PDU is only delayed.
    """
    retried = 0
    for parked in parked_pdus.read_due(MOST_RETRIED):
        if parked.is_given_up:
            parked_pdus.remove(parked.room_id, parked.event_id)
            counting.count("given_up", 1, parked.origin)
        elif parked_pdus.postpone(parked):
            queueing.put(parked.origin, {parked.room_id: [parked.pdu]}, parked=True)
            retried += 1
    if retried:
        logging.getLogger("murmuration.federation").warning("parked PDUs: retried=%d", retried)
    return retried


class _Outcomes:
    """The outcomes of a message's PDUs."""

    def __init__(self, room_id: RoomId, origin: ServerName, parked: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.room_id = room_id
        self._origin = origin
        self._parked = parked

    @property
    def is_retry(self) -> bool:
        """Whether the PDUs were parked, and are tried again."""
        return self._parked

    def judged(self, event_id: EventId, kind: str) -> None:
        """Record that an event is finished, with this outcome."""
        self.counts[kind] += 1
        if self._parked:
            parked_pdus.remove(self.room_id, event_id)

    def park(self, event_id: EventId, pdu: object) -> None:
        """Park an event so that it is tried again later, unless many events of its server were parked
        lately.
        """
        if not self._parked:
            try:
                rate_limits.check("federation_parked", self._origin)
            except LimitExceeded:
                self.counts["too_many_parked"] += 1
                return
            parked_pdus.park(self.room_id, event_id, self._origin, pdu)
        self.counts["parked"] += 1

    def park_also(self, event_id: EventId, pdu: object) -> None:
        """Park another event that was received together with one of the message's."""
        if parked_pdus.park(self.room_id, event_id, self._origin, pdu):
            self.counts["parked"] += 1

    def drop_all(self, pdus: Sequence[object], reason: str) -> Counter[str]:
        """Count all PDUs as dropped for this reason. A parked PDU among them isn't removed: it expires."""
        self.counts[reason] += len(pdus)
        return self.finish()

    def finish(self) -> Counter[str]:
        for reason, number in self.counts.items():
            if reason not in ("accepted", "known"):
                counting.count(reason, number, self._origin)
        return self.counts


class _Work:
    """The PDUs of one message, in a room that this server is in."""

    def __init__(self, room: Room, origin: ServerName, outcomes: _Outcomes) -> None:
        self.room = room
        self.origin = origin
        self.outcomes = outcomes
        self.remote = Asking(room, origin)
        self.deadline = Deadline(SECONDS)

    def run(self, pdus: Sequence[object]) -> None:
        events = self._new(self._parse(pdus))
        ordered = ancestors_first(events, lambda event: event.prev_events)
        keys = self.remote.keys(signing_times(ordered)) if ordered else {}
        room: Room | None = self.room
        for number, event in enumerate(ordered):
            if self.deadline.is_over():
                self._queue_again(ordered[number:])
                break
            self._take(event, keys, room)
            room = None
        # Not after an error: fetched events may not have been stored, and have to be requested again.
        self.remote.remember_failures()

    def _parse(self, pdus: Sequence[object]) -> dict[EventId, Event]:
        """Return the PDUs that have the format of the room's version, by event ID, in the order of their
        depth.

        If one event comes in several forms, the form with the right content hash is used.
        """
        events: dict[EventId, Event] = {}
        for pdu in pdus:
            try:
                event = parse_pdu(pdu, self.room.version)
            except MatrixError:
                self.outcomes.counts["malformed"] += 1
                continue
            if event.event_id not in events or verify_content_hash(event.pdu):
                events[event.event_id] = event
        return dict(sorted(events.items(), key=lambda item: (item[1].depth, item[1].origin_server_ts)))

    def _new(self, events: dict[EventId, Event]) -> dict[EventId, Event]:
        """Return the events that have no place yet. A single event isn't looked up here, but when it is
        received.
        """
        if len(events) < 2:
            return events
        known = event_store.placed_among(events, self.outcomes.room_id)
        for event_id in known:
            self.outcomes.judged(event_id, "known")
        return {event_id: event for event_id, event in events.items() if event_id not in known}

    def _take(self, event: Event, keys: KeyRing, room: Room | None) -> None:
        if lacks_keys(event, keys):
            self.outcomes.park(event.event_id, event.pdu)
            return
        try:
            again = self.outcomes.is_retry
            received = receive(self.room.room_id, self._whole(event), self.remote, room, again=again)
        except MissingEvents:
            self.outcomes.park(event.event_id, event.pdu)
        except Unavailable:
            raise
        except MatrixError:
            self.outcomes.judged(event.event_id, "dropped")
        else:
            for earlier in received.undecided_before:
                parsed = parse_pdu(earlier, self.room.version)
                self.outcomes.park_also(parsed.event_id, parsed.pdu)
            if received.undecided:
                self.outcomes.park(event.event_id, event.pdu)
            else:
                self.outcomes.judged(event.event_id, received.kind)

    def _whole(self, event: Event) -> object:
        """Return an event's PDU, from its sender's server if another server sent it with a wrong content
        hash.

        Such an event would be kept in its redacted form for ever. So a server that is quicker than the
        sender's own could spoil its events for this server.
        """
        if event.sender_server == self.origin or not self.remote.is_spoilt(event):
            return event.pdu
        return self.remote.whole(event)

    def _queue_again(self, events: Sequence[Event]) -> None:
        self.outcomes.counts["queued_again"] += len(events)
        queueing.put(self.origin, {self.room.room_id: [event.pdu for event in events]})


def lacks_keys(event: Event, keys: KeyRing) -> bool:
    """Return whether an event can't be judged because keys are missing that may be available later.

    This is the case if a required server has signed it with a key that isn't known, or that isn't known to be
    valid at the event's time. An event without a required signature is simply invalid.
    """
    for server in required_signers(event):
        names = [(server, key_id) for key_id in key_ids_of(event.pdu, server)]
        known = [keys[name] for name in names if name in keys]
        if any(key.may_sign_event(event.origin_server_ts, event.room_version) for key in known):
            continue
        if names and not any(key.expired_ts is not None for key in known):
            return True
    return False
