"""Reads a room's timeline: pages of it, one event, and one event with the events around it.

https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from murmuration.aws.concurrency import parallel
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.errors import NotFound, NotJson
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event
from murmuration.protocol.filters import EventFilter, parse_room_event_filter
from murmuration.protocol.sizes import LIST_BYTES, Budget, count_fitting, fit_events
from murmuration.rooms.reading.aggregations import bundle, matching_relations
from murmuration.rooms.reading.client_events import client_events, state_event
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.past_state import pick_state_after, state_after
from murmuration.rooms.reading.viewing import View, open_view
from murmuration.rooms.reading.visibility import Seen
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import AnyClientEvent, ClientEvent
    from murmuration.protocol.identifiers import EventId, RoomId
    from murmuration.rooms.json_types import EventContext, TimelinePage

DEFAULT_LIMIT = 10
MAX_LIMIT = 250
_SCANNED_AT_ONCE = 100
_SCANS = 4
"""How many requests, of at most 1 MB each, one page may take: a Lambda's answer is limited to 6 MB."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A client's request for a page of a timeline. `start` and `end` are tokens; None means
    the timeline's edge."""

    forward: bool
    start: str | None = None
    end: str | None = None
    limit: int = DEFAULT_LIMIT
    filter: EventFilter = field(default_factory=EventFilter)


def parse_filter(text: str | None) -> EventFilter:
    """Return the filter of a query parameter. Raises NotJson, BadJson, InvalidParam."""
    if text is None:
        return EventFilter()
    import json

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotJson("The filter is not JSON") from error
    return parse_room_event_filter(value)


Filling = Literal["filled", "later", "nothing"]
Fill = Callable[[Room, int, int], Filling]
"""A function that fetches missing events between two ordinals of a room's log. Returns "filled" if the log
has more now, "later" if another request is fetching them."""


def get_messages(
    token: AccessToken, room_id: RoomId, request: PageRequest, fill: Fill | None = None
) -> TimelinePage:
    """Return a page of the timeline: `chunk`, `start`, `state`, and `end` if there may be more.

    If a backward page reaches the beginning of the log or a gap, `fill` is called once to fetch what is
    missing; if it fetched events, the page is read again. If another request is fetching them, an empty page
    gets an `end` too, so that the client comes again.

    This usually takes three round trips: the token together with the room, the log, the relations. Raises
    UnknownToken, Forbidden, InvalidParam for invalid tokens.
    """
    view, start, scan = _read_page(token, room_id, request)
    meets_gap = not request.forward and (scan.passed_gap or scan.exhausted)
    may_lack = meets_gap and view.room.head.federated
    filling: Filling = fill(view.room, scan.position, start) if fill is not None and may_lack else "nothing"
    if filling == "filled":
        view, start, scan = _read_page(token, room_id, request)
    events, state = _render(view, scan.found, request.filter)
    chunk = scan.keep(events, Budget(LIST_BYTES // 2 if state else LIST_BYTES))
    state = _of_senders(state, chunk)
    page: TimelinePage = {"chunk": chunk, "start": request.start or position_token(start)}
    # Like other servers, return an `end` for every page that isn't empty. A client that gets none stops.
    if chunk or not scan.exhausted or filling == "later":
        page["end"] = position_token(scan.position)
    if state:
        page["state"] = state
    return page


def _read_page(token: AccessToken, room_id: RoomId, request: PageRequest) -> tuple[View, int, Scan]:
    """Return the view of the room, the position at which the page begins, and the scan that found its
    events.
    """
    view = open_view(token, room_id)
    horizon = view.horizon()
    head = view.room.head
    start = head.oldest - 1 if request.forward else horizon
    if request.start is not None:
        start = view.position(request.start)
    stop = horizon if request.forward else head.oldest - 1
    if request.end is not None:
        end = view.position(request.end)
        stop = min(stop, end) if request.forward else max(stop, end)
    scan = Scan(view, request.filter, min(start, horizon), stop, forward=request.forward)
    scan.run(min(request.limit, MAX_LIMIT))
    return view, start, scan


@dataclass(slots=True)
class Scan:
    """Reads the log from a position until it has enough events that the viewer may see and the filter wants.

    `stop` is the position to stop at; `exhausted` says that it was reached. `admits` is a condition in
    addition to the filter.
    """

    view: View
    filter: EventFilter
    position: int
    stop: int
    forward: bool
    admits: Callable[[Event], bool] | None = None
    found: list[Seen] = field(default_factory=list)
    passed_gap: bool = False
    """Whether an event is missing before one of those that were read."""

    @property
    def exhausted(self) -> bool:
        return self.position >= self.stop if self.forward else self.position <= self.stop

    def run(self, limit: int, *, scans: int = _SCANS) -> None:
        """Find up to `limit` events, in the direction's order, with at most `scans` requests of 1 MB."""
        if self.filter.admits_nothing or not self.filter.admits_room(self.view.room.room_id):
            self.position = self.stop
        for number in range(scans):
            if self.exhausted or len(self.found) >= limit:
                return
            wanted = limit - len(self.found)
            sifted = number > 0 or _sifts(self.filter)
            self._step(limit, max(wanted, _SCANNED_AT_ONCE) if sifted else wanted)

    def keep(self, events: Sequence[AnyClientEvent], budget: Budget) -> list[AnyClientEvent]:
        """Return those of the rendered events that fit into the budget, and move the position after the last
        one.
        """
        if not events:
            return []
        count = fit_events(events, budget)
        if count < len(events):
            self._stop_before(count)
        return list(events[:count])

    def _stop_before(self, number: int) -> None:
        """Move back to the position before an event that was found."""
        ordinal = self.found[number].entry.ordinal
        self.found = self.found[:number]
        self.position = ordinal - 1 if self.forward else ordinal

    def _step(self, limit: int, at_once: int) -> None:
        room = self.view.room
        near, far = self.position, self.stop
        entries = room_items.read_log_page(
            room.room_id,
            room.version,
            after=near if self.forward else far,
            before=far + 1 if self.forward else near + 1,
            limit=at_once,
            forward=self.forward,
        )
        allowed = {seen.entry.ordinal: seen for seen in self._passing(entries)}
        for entry in entries:
            if len(self.found) == limit:
                return
            self.position = entry.ordinal if self.forward else entry.ordinal - 1
            self.passed_gap = self.passed_gap or entry.after_gap
            if entry.ordinal in allowed:
                self.found.append(allowed[entry.ordinal])
        if not entries:
            self.position = self.stop

    def _passing(self, entries: Sequence[LogEntry]) -> list[Seen]:
        seen = self.view.see(entries)
        passing = [each for each in seen if self._admits(each.entry.event)]
        if self.filter.needs_relations:
            return matching_relations(self.view.room, passing, self.filter)
        return passing

    def _admits(self, event: Event) -> bool:
        return self.filter.matches(event.pdu) and (self.admits is None or self.admits(event))


def _sifts(event_filter: EventFilter) -> bool:
    """Return whether the filter may leave out events. Asking only for the senders' members doesn't count."""
    return replace(event_filter, limit=None, lazy_load_members=False, include_redundant_members=False) != (
        EventFilter()
    )


def _render(
    view: View, found: Sequence[Seen], event_filter: EventFilter
) -> tuple[list[ClientEvent], list[ClientEvent]]:
    """Return the events with their aggregations and, if the filter wants them, their senders' member
    events.
    """
    entries = [seen.entry for seen in found]
    calls: tuple[Callable[[], Any], ...] = (
        functools.partial(bundle, entries, view.viewer),
        functools.partial(_senders, view, entries, event_filter),
    )
    aggregations, state = parallel(*calls)
    return client_events(found, view.viewer, aggregations=aggregations), state


def _of_senders(state: list[ClientEvent], chunk: Sequence[ClientEvent]) -> list[ClientEvent]:
    """Return those member events in `state` that belong to the chunk's senders, as many as fit into half an
    answer.
    """
    senders = {event["sender"] for event in chunk}
    members = [event for event in state if event["state_key"] in senders]
    return members[: count_fitting(members, Budget(LIST_BYTES // 2))]


def _senders(view: View, entries: Sequence[LogEntry], event_filter: EventFilter) -> list[ClientEvent]:
    if not event_filter.lazy_load_members or not entries:
        return []
    pairs = dict.fromkeys((MEMBER, entry.event.sender) for entry in entries)
    state = pick_state_after(view.room, entries[0], pairs)
    return [state_event(event, view.viewer) for event in state.values()]


def get_event(token: AccessToken, room_id: RoomId, event_id: EventId) -> ClientEvent:
    """Return one event. Raises UnknownToken, NotFound for an event that the requester may not see."""
    view = open_view(token, room_id, otherwise=NotFound)
    seen = view.find(event_id)
    return _rendered(view, [seen])[0]


def _rendered(view: View, found: Sequence[Seen]) -> list[ClientEvent]:
    aggregations = bundle([seen.entry for seen in found], view.viewer)
    return client_events(found, view.viewer, aggregations=aggregations)


def get_context(
    token: AccessToken, room_id: RoomId, event_id: EventId, *, limit: int, event_filter: EventFilter
) -> EventContext:
    """Return an event, up to `limit` events around it, and the state after the last of them.

    Raises UnknownToken, Forbidden for a room that the requester may not read, NotFound for an event that they
    may not see.
    """
    view = open_view(token, room_id)
    view.require_reading()
    centre = view.find(event_id)
    limit = min(limit, MAX_LIMIT)
    ordinal = centre.entry.ordinal
    before = Scan(view, event_filter, ordinal - 1, view.room.head.oldest - 1, forward=False)
    after = Scan(view, event_filter, ordinal, max(view.room.head.ordinal, ordinal), forward=True)
    parallel(functools.partial(before.run, limit // 2), functools.partial(after.run, limit - limit // 2))
    found = [*before.found, centre, *after.found]
    events, state = parallel(
        functools.partial(_rendered, view, found),
        functools.partial(_context_state, view, found, event_filter),
    )
    middle = len(before.found)
    fit_events([events[middle]], budget := Budget(LIST_BYTES // 2))
    events_before = before.keep(events[:middle], Budget(budget.left // 2))
    events_after = after.keep(events[middle + 1 :], Budget(budget.left // 2))
    shown = [*before.found, centre, *after.found]
    if len(shown) < len(found):
        state = _context_state(view, shown, event_filter)
    return {
        "start": position_token(before.position),
        "end": position_token(after.position),
        "events_before": events_before,
        "event": events[middle],
        "events_after": events_after,
        "state": state,
    }


def _context_state(view: View, shown: Sequence[Seen], event_filter: EventFilter) -> list[ClientEvent]:
    """Return the state after the last event shown; if the filter says so, only the senders' member events."""
    entries = [seen.entry for seen in shown]
    last = max(entries, key=lambda entry: entry.ordinal)
    members = {entry.event.sender for entry in entries} if event_filter.lazy_load_members else None
    state = state_after(view.room, last, members=members)
    return [
        state_event(event, view.viewer)
        for event in state.values()
        if event_filter.matches(event.pdu, view.room.room_id)
    ]
