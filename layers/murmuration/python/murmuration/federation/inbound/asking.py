"""`Asking`: the implementation of `RemoteServers` over the network.

The server that sent the event is asked first, then those with the most members in the room. All requests
about one batch of events share a time limit, so that a room doesn't wait longer for missing events. Events
that couldn't be fetched aren't requested again for at least an hour (`storage.servers.unobtainable`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from murmuration.federation.inbound.auth_chains import signing_times
from murmuration.federation.inbound.elsewhere import Pdu, StateIds
from murmuration.federation.keys import fetching
from murmuration.federation.names import policy
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import RequestFailed
from murmuration.federation.requests.threads import side_by_side
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, ServerName
from murmuration.protocol.pdus.event_format import parse_pdu
from murmuration.protocol.pdus.hashing import verify_content_hash
from murmuration.protocol.pdus.keys import KeyRing, VerifyKey
from murmuration.protocol.pdus.validation import check_signatures
from murmuration.protocol.room_versions import RoomVersion
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage.rooms import event_store, member_index
from murmuration.storage.servers import unobtainable
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import TimedOut, TransportError

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Untrusted

T = TypeVar("T")

SECONDS = 25.0
"""The time for all questions about one batch of events."""
REQUEST_SECONDS = 8.0
MOST_SERVERS = 3
MOST_EVENTS_BETWEEN = 20
MOST_SINGLE_EVENTS = 500
SINGLE_AT_ONCE = 10
MOST_SPOILT = 20
"""For how many events of one answer with a wrong content hash the senders' servers are asked."""
FEW_EVENTS = 20
"""Up to this many missing events of a state are fetched one by one."""
WHOLE_STATE_SHARE = 0.2
"""If a larger share of a state's events is unknown, the whole state is fetched."""
MOST_ID_BYTES = 255
MOST_IDS_BYTES = 4 * 1024 * 1024
MOST_STATE_BYTES = 24 * 1024 * 1024
MOST_BACKFILL_BYTES = 8 * 1024 * 1024
MOST_BYTES = 2 * 1024 * 1024
_V1 = ("_matrix", "federation", "v1")


class Asking:
    """The other servers of one room, asked about events that `origin` sent."""

    def __init__(self, room: Room, origin: ServerName, seconds: float = SECONDS) -> None:
        self.room_id = room.room_id
        self.version: RoomVersion = room.version
        self._head = room.head
        self._origin = origin
        self._deadline = Deadline(seconds)
        self._ring: dict[tuple[ServerName, str], VerifyKey] = {}
        self._looked_up: dict[tuple[ServerName, str], int] = {}
        self._servers: list[ServerName] | None = None
        self._state_sizes: dict[str, int] = {}
        self._vain: dict[str, None] = {}

    # -- The port ----------------------------------------------------------------------------------------

    def keys(self, wanted: Mapping[tuple[ServerName, str], int]) -> KeyRing:
        """Return servers' keys. Keys that this object has looked up before aren't looked up again."""
        new = {name: until for name, until in wanted.items() if self._looked_up.get(name, -1) < until}
        if new:
            self._looked_up |= new
            self._ring |= fetching.verify_keys(new, seconds=self._seconds_left())
        return {name: self._ring[name] for name in wanted if name in self._ring}

    def auth_chain(self, event: Event) -> Sequence[Pdu]:
        """Return the auth chain of an event; empty if no server has it, or if asking failed lately."""
        mark = f"auth_chain {event.event_id}"
        if not unobtainable.askable(self.room_id, [mark]):
            return []
        self._vain[mark] = None
        path = client.path(*_V1, "event_auth", self.room_id, event.event_id)
        answer = self._ask(lambda server: self._list_of(server, path, "auth_chain", MOST_STATE_BYTES))
        return self._known_keys(answer or [])

    def events_between(self, event: Event, known: Sequence[EventId]) -> Sequence[Pdu]:
        """Return events before `event` and after the `known` ones; empty if requests for all missing events
        failed lately.
        """
        found = event_store.read(event.prev_events, self.version, self.room_id)
        missing = [it for it in event.prev_events if it not in found or not found[it].is_placed]
        if not unobtainable.askable(self.room_id, missing):
            return []
        self._vain |= dict.fromkeys(missing)
        path = client.path(*_V1, "get_missing_events", self.room_id)
        body = {
            "earliest_events": list(known[:MOST_EVENTS_BETWEEN]),
            "latest_events": [event.event_id],
            "limit": MOST_EVENTS_BETWEEN,
            "min_depth": 0,
        }

        def ask(server: ServerName) -> tuple[str, list[object]]:
            answer = self._request(server, "POST", path, body=body, max_bytes=MOST_BYTES)
            return server, _list_in(answer, "events")

        server, pdus = self._ask(ask, most=2) or ("", [])
        return self._whole_ones(server, self._known_keys(pdus[:MOST_EVENTS_BETWEEN]))

    def state_ids_before(self, event: Event) -> StateIds | None:
        """Return the IDs of the state before an event; None if no server answers, or if asking
        failed lately.
        """
        mark = f"state {event.event_id}"
        if not unobtainable.askable(self.room_id, [mark]):
            return None
        path = client.path(*_V1, "state_ids", self.room_id)

        def ask(server: ServerName) -> StateIds:
            query = {"event_id": event.event_id}
            answer = self._request(server, "GET", path, query=query, max_bytes=MOST_IDS_BYTES)
            state = _ids_in(answer, "pdu_ids")
            if not state:
                raise RequestFailed(f"{server} has no state")
            return StateIds(state, _ids_in(answer, "auth_chain_ids"))

        told = self._ask(ask)
        if told is None:
            self._vain[mark] = None
        else:
            self._state_sizes[event.event_id] = len(told.state) + len(told.auth_chain)
        return told

    def state_events(self, event: Event, event_ids: Sequence[EventId]) -> Sequence[Pdu]:
        """Return those events of the state before `event`: fetched one by one or, if they are many, with the
        whole state.
        """
        wanted = unobtainable.askable(self.room_id, event_ids)
        self._vain |= dict.fromkeys(wanted)
        total = self._state_sizes.get(event.event_id, len(event_ids))
        if len(wanted) > max(FEW_EVENTS, total * WHOLE_STATE_SHARE):
            found = self._whole_state(event, set(wanted))
        else:
            found = self._single_events(wanted)
        return self._whole_ones("", self._known_keys(found))

    def whole(self, event: Event) -> Pdu:
        """Return the sender's server's copy of an event whose content hash is wrong, if that copy is right.

        Otherwise returns the event unchanged: it is probably redacted. The sender's server isn't asked again
        for hours.
        """
        mark = f"whole {event.event_id}"
        known = event_store.placed_among([event.event_id], self.room_id)
        if known or not unobtainable.askable(self.room_id, [mark]):
            return event.pdu
        found = self._single_event(event.sender_server, event.event_id)
        if found is not None and verify_content_hash(found):
            return found
        self._vain[mark] = None
        return event.pdu

    def _whole_ones(self, server: str, pdus: Sequence[Pdu]) -> list[Pdu]:
        """Return the PDUs of `server`'s answer. One with a wrong content hash is replaced by its sender's
        server's copy.

        If there are many of those, most are probably redacted, so only the first ones are fetched.
        """
        spoilt: dict[int, Event] = {}
        for number, pdu in enumerate(pdus):
            if len(spoilt) == MOST_SPOILT:
                break
            with suppress(MatrixError):
                event = parse_pdu(pdu, self.version)
                if event.sender_server not in (server, settings().server_name) and self.is_spoilt(event):
                    spoilt[number] = event
        found = side_by_side(self.whole, list(spoilt.values()), most=SINGLE_AT_ONCE)
        whole = dict(zip(spoilt, found, strict=True))
        return [whole.get(number, pdu) for number, pdu in enumerate(pdus)]

    def is_spoilt(self, event: Event) -> bool:
        """Return whether an event's content hash is wrong although its servers have signed the event.

        The keys must have been looked up. No server should be asked about an event that it hasn't signed.
        """
        if verify_content_hash(event.pdu):
            return False
        try:
            check_signatures(event, self._ring)
        except MatrixError:
            return False
        return True

    def before(self, event_ids: Sequence[EventId], limit: int) -> Sequence[Pdu]:
        """Return these events and earlier ones, up to `limit` (`GET /backfill`)."""
        path = client.path(*_V1, "backfill", self.room_id)

        def ask(server: ServerName) -> list[object]:
            query = {"v": list(event_ids), "limit": limit}
            answer = self._request(server, "GET", path, query=query, max_bytes=MOST_BACKFILL_BYTES)
            pdus = _list_in(answer, "pdus")
            if not pdus:
                raise RequestFailed(f"{server} has none of these events")
            return pdus[:limit]

        return self._known_keys(self._ask(ask) or [])

    def closest(self, ts: int, *, forward: bool) -> EventId | None:
        """Return the event of another server that is closest to the time `ts` (ms), after it or before it."""
        path = client.path(*_V1, "timestamp_to_event", self.room_id)

        def ask(server: ServerName) -> EventId:
            query = {"ts": ts, "dir": "f" if forward else "b"}
            answer = self._request(server, "GET", path, query=query, max_bytes=MOST_BYTES)
            event_id, at = answer.get("event_id"), answer.get("origin_server_ts")
            if not isinstance(event_id, str) or not _fits(event_id) or type(at) is not int:
                raise RequestFailed(f"{server} names no event")
            if at < ts if forward else at > ts:
                raise RequestFailed(f"{server} names an event on the wrong side")
            return EventId(event_id)

        return self._ask(ask)

    # -- For the worker ----------------------------------------------------------------------------------

    def remember_failures(self) -> None:
        """Record which events couldn't be fetched, so that the next event doesn't request them again."""
        if not self._vain:
            return
        ids = [EventId(it) for it in self._vain if " " not in it]
        found = event_store.read(ids, self.version, self.room_id) if ids else {}
        vain = [it for it in self._vain if EventId(it) not in found]
        unobtainable.remember(self.room_id, vain)
        self._vain.clear()

    # -- Asking ------------------------------------------------------------------------------------------

    def _candidates(self) -> list[ServerName]:
        """Return the servers to ask: the origin, then the servers with the most members."""
        if self._servers is None:
            counts = member_index.read_servers(self._head)
            ranked = sorted(counts, key=lambda server: (-counts[server], server))
            others = [it for it in ranked if it not in (self._origin, settings().server_name)]
            everyone = [self._origin, *others] if self._origin != settings().server_name else others
            self._servers = [it for it in everyone if policy.is_allowed(it)][: MOST_SERVERS + 2]
        return self._servers

    def _ask(self, call: Callable[[ServerName], T], *, most: int = MOST_SERVERS) -> T | None:
        """Ask servers one after another, and return the first answer; None if none answers in time."""
        for server in self._candidates()[:most]:
            if self._deadline.is_over():
                break
            try:
                return call(server)
            except (RequestFailed, MatrixError, TransportError):
                continue
        return None

    def _request(self, server: ServerName, method: str, path: str, **options: Any) -> Untrusted:
        return client.request(server, method, path, seconds=self._deadline.left(REQUEST_SECONDS), **options)

    def _list_of(self, server: ServerName, path: str, name: str, max_bytes: int) -> list[object]:
        return _list_in(self._request(server, "GET", path, max_bytes=max_bytes), name)

    def _whole_state(self, event: Event, wanted: Collection[EventId]) -> list[Pdu]:
        path = client.path(*_V1, "state", self.room_id)

        def ask(server: ServerName) -> list[Pdu]:
            query = {"event_id": event.event_id}
            answer = self._request(server, "GET", path, query=query, max_bytes=MOST_STATE_BYTES)
            return [*_list_in(answer, "auth_chain"), *_list_in(answer, "pdus")]

        return self._only(self._ask(ask) or [], wanted)

    def _single_events(self, wanted: Iterable[EventId]) -> list[Pdu]:
        left = list(wanted)[:MOST_SINGLE_EVENTS]
        found: list[Pdu] = []
        for server in self._candidates()[:MOST_SERVERS]:
            if not left or self._deadline.is_over():
                break
            answers = side_by_side(functools.partial(self._single_event, server), left, most=SINGLE_AT_ONCE)
            found += [pdu for pdu in answers if pdu is not None]
            left = [it for it, pdu in zip(left, answers, strict=True) if pdu is None]
        return found

    def _single_event(self, server: ServerName, event_id: EventId) -> Pdu | None:
        path = client.path(*_V1, "event", event_id)
        try:
            answer = self._request(server, "GET", path, max_bytes=MOST_BYTES)
        except (RequestFailed, MatrixError, TransportError):
            return None
        pdus = self._only(answer.get("pdus"), [event_id])
        return pdus[0] if pdus else None

    # -- Answers -----------------------------------------------------------------------------------------

    def _only(self, pdus: object, wanted: Collection[EventId]) -> list[Pdu]:
        """Return those PDUs that were requested: a server may not add others."""
        return [pdu for event_id, pdu in self._parsed(pdus if isinstance(pdus, list) else [])
                if event_id in wanted]  # fmt: skip

    def _parsed(self, pdus: Iterable[Pdu]) -> list[tuple[EventId, Pdu]]:
        found = []
        for pdu in pdus:
            try:
                found.append((parse_pdu(pdu, self.version, limit_references=False).event_id, pdu))
            except MatrixError:
                continue
        return found

    def _known_keys(self, pdus: Sequence[Pdu]) -> Sequence[Pdu]:
        """Return the PDUs, after looking up the keys for all of them together."""
        events = []
        for pdu in pdus:
            try:
                events.append(parse_pdu(pdu, self.version, limit_references=False))
            except MatrixError:
                continue
        self.keys(signing_times(events))
        return pdus

    def _seconds_left(self) -> float:
        try:
            return self._deadline.left()
        except TimedOut:
            return 0.0


def _list_in(answer: Untrusted, name: str) -> list[object]:
    """Return a list in an answer. Raises RequestFailed if it isn't a list."""
    value = answer.get(name)
    if not isinstance(value, list):
        raise RequestFailed(f"the answer has no list {name}")
    return value


def _ids_in(answer: Untrusted, name: str) -> list[EventId]:
    """Return a list of event IDs in an answer, without values that can't be event IDs."""
    return [EventId(it) for it in _list_in(answer, name) if isinstance(it, str) and _fits(it)]


def _fits(event_id: str) -> bool:
    try:
        return 0 < len(event_id.encode()) <= MOST_ID_BYTES
    except UnicodeEncodeError:
        return False
