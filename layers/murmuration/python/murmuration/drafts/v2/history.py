"""A room's history in version 2: pages of it, an overview of the pages, a window around an event, replies.

Every answer has its events oldest first. An event that only updates another is inside that one.
https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from murmuration.aws.concurrency import parallel
from murmuration.drafts.v2 import filters
from murmuration.drafts.v2.bundles import MAX_REPLIES, RELATING, EventForm, render_events, render_state
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.encoding.shapes import Answer, JsonDict
from murmuration.protocol.errors import NotFound
from murmuration.protocol.filters import EventFilter
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.protocol.sizes import LIST_BYTES, Budget, fit_events
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.past_state import state_after
from murmuration.rooms.reading.timeline import MAX_LIMIT, Scan
from murmuration.rooms.reading.viewing import View, open_view
from murmuration.rooms.reading.visibility import Seen
from murmuration.storage.rooms import event_places, relations, room_items
from murmuration.storage.rooms.relations import Relation

DEFAULT_LIMIT = 20
MAX_COUNTED = 5_000
"""How many events an overview of pages counts at most: the newest ones."""
COUNTING_SCANS = 8
"""How many requests of 1 MB each the counting may take."""
POSITIONS = ("before", "around", "after")
_PAGE_TOKEN = re.compile(r"r(-?[0-9]{1,15})_(-?[0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Reading:
    """The events that a client wants: which ones, how many at most, and what they include."""

    limit: int = DEFAULT_LIMIT
    filter: EventFilter = field(default_factory=EventFilter)
    form: EventForm = field(default_factory=EventForm)


def make_reading(
    token: AccessToken, filter_token: str | None, *, limit: int = DEFAULT_LIMIT, replies: int = -1
) -> Reading:
    """Return what a request asks for. If `replies` isn't negative, it overrides the filter's number.

    Raises NotFound for an unknown filter.
    """
    wanted = filters.read(token.user_id, filter_token)
    form = wanted.form if replies < 0 else replace(wanted.form, replies=min(replies, MAX_REPLIES))
    return Reading(limit, wanted.events, form)


def paginate(token: AccessToken, room_id: RoomId, start: str | None, reading: Reading) -> Answer:
    """Return the events before a token's position, or before now: `events`, and the `token` for those before
    them.

    A token from the overview returns its page. Without a `token` in the answer there are no earlier events.
    Raises UnknownToken, Forbidden, InvalidParam for an invalid token.
    """
    view = open_view(token, room_id)
    horizon, bottom = view.horizon(), view.room.head.oldest - 1
    low, high = bottom, horizon
    if start is not None:
        low, high = _parse_start(start, view, bottom)
    scan = Scan(
        view, reading.filter, min(high, horizon), max(low, bottom), forward=False, admits=reading.form.admits
    )
    scan.run(min(reading.limit, MAX_LIMIT))
    events = scan.keep(_rendered(view, scan.found, reading), Budget(LIST_BYTES))
    answer: Answer = {"events": events[::-1]}
    if scan.position > bottom:
        answer["token"] = position_token(scan.position)
    return answer


def _parse_start(start: str, view: View, bottom: int) -> tuple[int, int]:
    """Return the positions between which a token's events are."""
    if match := _PAGE_TOKEN.fullmatch(start):
        return int(match[1]), int(match[2])
    return bottom, view.position(start)


def get_pages(token: AccessToken, room_id: RoomId, reading: Reading) -> Answer:
    """Return an overview of the room's pages of `limit` matching events: their `tokens`, and the `total` of
    events.

    The first page has the oldest events. The tokens name the events of now: events that are sent later don't
    move them. If the room has more events than can be counted (`MAX_COUNTED`, within `COUNTING_SCANS` MB),
    the pages cover the newest, and `before` is the token for earlier ones. Raises UnknownToken, Forbidden.
    """
    view = open_view(token, room_id)
    bottom = view.room.head.oldest - 1
    scan = Scan(view, reading.filter, view.horizon(), bottom, forward=False, admits=reading.form.admits)
    scan.run(MAX_COUNTED, scans=COUNTING_SCANS)
    ordinals = [seen.entry.ordinal for seen in reversed(scan.found)]
    size = max(1, min(reading.limit, MAX_LIMIT))
    ends = [*ordinals[size - 1 : -1 : size], *ordinals[-1:]]
    starts = [scan.position, *ends[:-1]]
    answer: Answer = {
        "tokens": [f"r{low}_{high}" for low, high in zip(starts, ends, strict=False)],
        "total": len(ordinals),
    }
    return answer if scan.exhausted else answer | {"before": position_token(scan.position)}


def get_window(
    token: AccessToken, event_id: EventId, position: str, reading: Reading, state_filter: EventFilter
) -> Answer:
    """Return an event with up to `limit` others: those before it, after it, or around it.

    Returns `room_id`, `events`, the tokens `start` and `end` for continuing in either direction, and the
    room's `state` after the last of the events. Raises UnknownToken, NotFound for an event that the requester
    may not see.
    """
    view = _open_view_of(token, event_id)
    centre = view.find(event_id)
    view.require_reading()
    ordinal, head = centre.entry.ordinal, view.room.head
    limit = min(reading.limit, MAX_LIMIT)
    shares = {"before": (limit, 0), "after": (0, limit), "around": (limit // 2, limit - limit // 2)}
    before = _scan(view, reading, ordinal - 1, head.oldest - 1, forward=False)
    after = _scan(view, reading, ordinal, max(head.ordinal, ordinal), forward=True)
    older, newer = shares[position]
    parallel(functools.partial(before.run, older), functools.partial(after.run, newer))
    events = _rendered(view, [*before.found, centre, *after.found], reading)
    middle = len(before.found)
    fit_events([events[middle]], budget := Budget(LIST_BYTES // 2))
    events_before = before.keep(events[:middle], Budget(budget.left // 2))
    events_after = after.keep(events[middle + 1 :], Budget(budget.left // 2))
    shown = [*reversed(before.found), centre, *after.found]
    state = state_after(view.room, shown[-1].entry)
    return {
        "room_id": view.room.room_id,
        "events": [*reversed(events_before), events[middle], *events_after],
        "start": position_token(before.position),
        "end": position_token(after.position),
        "state": [
            render_state(event, view.viewer) for event in state.values() if state_filter.matches(event.pdu)
        ],
    }


def _scan(view: View, reading: Reading, start: int, stop: int, *, forward: bool) -> Scan:
    return Scan(view, reading.filter, start, stop, forward=forward, admits=reading.form.admits)


def get_replies(token: AccessToken, event_id: EventId, start: str | None, reading: Reading) -> Answer:
    """Return the newest events that relate to an event without updating it, before a token's position.

    Returns `chunk`, and the token `start` for those before them, if there are any. Raises UnknownToken,
    InvalidParam for an invalid token, NotFound for an event that the requester may not see.
    """
    view = _open_view_of(token, event_id)
    parent = view.find(event_id).entry
    view.require_reading()
    before = None
    if start is not None:
        before = view.position(start) + 1
    limit = max(1, min(reading.limit, MAX_LIMIT))
    found = _newest_replies(view, event_id, parent.groups.intersection(RELATING), before, limit + 1)
    page = found[:limit]
    keys = [(view.room.room_id, relation.ordinal) for relation in page]
    entries = room_items.read_log_entries(keys, {view.room.room_id: view.room.version})
    seen = view.see(sorted(entries, key=lambda entry: -entry.ordinal))
    passing = [each for each in seen if reading.filter.matches(each.entry.event.pdu)]
    chunk = _rendered(view, passing, reading)
    count = fit_events(chunk, Budget(LIST_BYTES))
    answer: Answer = {"chunk": chunk[:count][::-1]}
    if count < len(chunk):
        return answer | {"start": position_token(passing[count].entry.ordinal)}
    return answer | ({"start": position_token(page[-1].ordinal - 1)} if len(found) > limit else {})


def _newest_replies(
    view: View, event_id: EventId, groups: frozenset[str], before: int | None, limit: int
) -> list[Relation]:
    """Return the newest replies, newest first."""
    pages = parallel(
        *(
            functools.partial(
                relations.read_relations,
                view.room.room_id,
                event_id,
                group,
                before=before,
                limit=limit,
                forward=False,
            )
            for group in groups
        )
    )
    found = [relation for page in pages for relation in page]
    return sorted(found, key=lambda relation: -relation.ordinal)[:limit]


def _open_view_of(token: AccessToken, event_id: EventId) -> View:
    """Return the room that an event is in. Raises UnknownToken, NotFound."""
    room_id = event_places.read_room_of(event_id) if fits_id(event_id) else None
    return open_view(token, room_id or RoomId(""), otherwise=NotFound)


def _rendered(view: View, seen: Sequence[Seen], reading: Reading) -> list[JsonDict]:
    return render_events(seen, view.viewer, reading.form)
