"""Pages of the events that relate to an event, and of a room's threads.

https://spec.matrix.org/v1.19/client-server-api/#relationships-api
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from murmuration.aws.concurrency import parallel
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.sizes import LIST_BYTES, Budget, fit_events
from murmuration.rooms.lookup import find_entries
from murmuration.rooms.reading.aggregations import bundle
from murmuration.rooms.reading.client_events import client_events
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.viewing import View, open_view
from murmuration.rooms.reading.visibility import Seen, Viewer, seen_by
from murmuration.rooms.room import Room
from murmuration.storage.rooms import relations, room_items
from murmuration.storage.rooms.relations import Relation, Thread
from murmuration.storage.rooms.room_items import LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import EventId, RoomId
    from murmuration.rooms.json_types import RelationsPage, ThreadsPage

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
RECURSION_DEPTH = 3
_READ_AT_ONCE = 200
_RECURSION_LIMIT = 1000
"""How many relations one recursive request follows."""
_THREAD_PAGES = 5


@dataclass(frozen=True, slots=True)
class RelationsRequest:
    """A client's request for an event's relations. `start` and `end` are pagination tokens."""

    rel_type: str | None = None
    event_type: str | None = None
    start: str | None = None
    end: str | None = None
    limit: int = DEFAULT_LIMIT
    forward: bool = False
    recurse: bool = False


@dataclass(frozen=True, slots=True)
class _Range:
    """The range of requested relations: those with `after` < ordinal < `before` and these types, in one
    direction.
    """

    rel_type: str | None
    event_type: str | None
    after: int | None
    before: int | None
    forward: bool
    ignored: frozenset[str]

    def takes(self, relation: Relation) -> bool:
        return (
            self.rel_type in (None, relation.rel_type)
            and self.event_type in (None, relation.event_type)
            and relation.sender not in self.ignored
            and (self.after is None or relation.ordinal > self.after)
            and (self.before is None or relation.ordinal < self.before)
        )

    def sort(self, found: Iterable[Relation]) -> list[Relation]:
        """Return the relations in the direction's order, each once."""
        by_ordinal = {relation.ordinal: relation for relation in found}
        return [by_ordinal[ordinal] for ordinal in sorted(by_ordinal, reverse=not self.forward)]


def get_relations(
    token: AccessToken, room_id: RoomId, event_id: EventId, request: RelationsRequest
) -> RelationsPage:
    """Return a page of the events that relate to one event, directly or, with `recurse`, through other
    events.

    Raises UnknownToken, Forbidden, InvalidParam, NotFound for an event that the requester may not see.
    """
    view = open_view(token, room_id)
    view.require_reading()
    parent = view.find(event_id).entry
    wanted = _range(view, request)
    limit = min(request.limit, MAX_LIMIT)
    read = _descendants if request.recurse else _children
    found = read(view.room, parent, wanted, limit + 1)
    page = found[:limit]
    entries = room_items.read_log_entries(
        [(room_id, relation.ordinal) for relation in page], {room_id: view.room.version}
    )
    entries.sort(key=lambda entry: entry.ordinal, reverse=not request.forward)
    seen = view.see(entries)
    chunk = _rendered(view, seen, view.viewer)
    count = fit_events(chunk, Budget(LIST_BYTES))
    answer: RelationsPage = {"chunk": chunk[:count]}
    if count < len(chunk):
        last = seen[count - 1].entry.ordinal
        answer["next_batch"] = position_token(last if request.forward else last - 1)
    elif len(found) > limit:
        last = page[-1].ordinal if page else found[0].ordinal - (1 if request.forward else 0)
        answer["next_batch"] = position_token(last if request.forward else last - 1)
    if request.start is not None:
        answer["prev_batch"] = request.start
    if request.recurse:
        answer["recursion_depth"] = RECURSION_DEPTH
    return answer


def _range(view: View, request: RelationsRequest) -> _Range:
    near, far = (
        view.position(token) if token is not None else None for token in (request.start, request.end)
    )
    after, last = (near, far) if request.forward else (far, near)
    return _Range(
        rel_type=request.rel_type,
        event_type=request.event_type,
        after=after,
        before=None if last is None else last + 1,
        forward=request.forward,
        ignored=view.viewer.ignored,
    )


def _children(room: Room, parent: LogEntry, wanted: _Range, limit: int) -> list[Relation]:
    """Return the first `limit` relations to the event itself."""
    if wanted.rel_type is not None:
        groups: Iterable[str] = [relations.group_of(wanted.rel_type)]
    else:
        groups = parent.groups
    pages = parallel(
        *(functools.partial(_of_group, room, parent.event.event_id, group, wanted, limit) for group in groups)
    )
    return wanted.sort(relation for page in pages for relation in page)[:limit]


def _of_group(room: Room, event_id: EventId, group: str, wanted: _Range, limit: int) -> list[Relation]:
    sifted = wanted.event_type is not None or wanted.ignored or group == relations.OTHER
    at_once = _READ_AT_ONCE if sifted else limit
    found: list[Relation] = []
    after, before = wanted.after, wanted.before
    while len(found) < limit:
        page = relations.read_relations(
            room.room_id,
            event_id,
            group,
            after=after,
            before=before,
            limit=at_once,
            forward=wanted.forward,
        )
        found += [relation for relation in page if wanted.takes(relation)]
        if len(page) < at_once:
            break
        after, before = (page[-1].ordinal, before) if wanted.forward else (after, page[-1].ordinal)
    return found[:limit]


def _descendants(room: Room, parent: LogEntry, wanted: _Range, limit: int) -> list[Relation]:
    """Return the first `limit` relations within `RECURSION_DEPTH` steps, each event once."""
    known: dict[str, Relation] = {}
    level = [parent]
    for _ in range(RECURSION_DEPTH):
        pages = parallel(
            *(
                functools.partial(
                    relations.read_relations,
                    room.room_id,
                    entry.event.event_id,
                    group,
                    limit=_RECURSION_LIMIT,
                )
                for entry in level
                for group in entry.groups
            )
        )
        fresh = [each for page in pages for each in page if each.event_id not in known]
        fresh = fresh[: _RECURSION_LIMIT - len(known)]
        if not fresh:
            break
        known |= {relation.event_id: relation for relation in fresh}
        level = room_items.read_log_entries(
            [(room.room_id, relation.ordinal) for relation in fresh], {room.room_id: room.version}
        )
    return wanted.sort(filter(wanted.takes, known.values()))[:limit]


def _rendered(view: View, seen: Sequence[Seen], viewer: Viewer) -> list[ClientEvent]:
    aggregations = bundle([each.entry for each in seen], view.viewer)
    return client_events(seen, viewer, aggregations=aggregations)


def get_threads(
    token: AccessToken,
    room_id: RoomId,
    *,
    participated: bool = False,
    start: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> ThreadsPage:
    """Return a page of thread roots; the thread with the newest event comes first.

    Raises UnknownToken, Forbidden, InvalidParam.
    """
    view = open_view(token, room_id)
    view.require_reading()
    limit = min(limit, MAX_LIMIT)
    threads = relations.read_threads(room_id)
    if start is not None:
        position = view.position(start)
        threads = [thread for thread in threads if thread.latest <= position]
    chunk: list[ClientEvent] = []
    budget = Budget(LIST_BYTES)
    for _ in range(_THREAD_PAGES):
        if not threads or len(chunk) >= limit:
            break
        page, threads = threads[: limit - len(chunk)], threads[limit - len(chunk) :]
        roots = _thread_roots(view, page, participated)
        count = fit_events(roots, budget)
        chunk += roots[:count]
        if count < len(roots):
            following = roots[count]["event_id"]
            number = next(number for number, thread in enumerate(page) if thread.root_id == following)
            page, threads = page[:number], [*page[number:], *threads]
            break
    answer: ThreadsPage = {"chunk": chunk}
    if threads:
        answer["next_batch"] = position_token(threads[0].latest)
    return answer


def _thread_roots(view: View, threads: Sequence[Thread], participated: bool) -> list[ClientEvent]:
    """Return the thread roots that the viewer may see; those of ignored senders are redacted."""
    found = find_entries(view.room, [thread.root_id for thread in threads])
    entries = [found[thread.root_id] for thread in threads if thread.root_id in found]
    seen = [
        Seen(replace(entry, event=entry.event.redacted()), membership)
        if view.viewer.ignores(entry)
        else Seen(entry, membership)
        for entry, membership in seen_by(replace(view.viewer, ignored=frozenset()), entries)
    ]
    rendered = _rendered(view, seen, view.viewer)
    return [root for root in rendered if _has_thread(root, participated)]


def _has_thread(root: ClientEvent, participated: bool) -> bool:
    thread = root["unsigned"].get("m.relations", {}).get(relations.THREAD)
    return thread is not None and (thread["current_user_participated"] or not participated)
