"""Search in messages: scans the requester's rooms from the newest event back.

There is no index: a page ends after some seconds with the events found so far, and `next_batch` continues
from there. Encrypted rooms are left out, because their events have no readable text.
https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

from __future__ import annotations

import functools
import re
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.aws.reads import fetch_all
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding import unpadded_base64
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import InvalidParam, MissingParam
from murmuration.protocol.event_types import CREATE_KEY, MEMBER, MESSAGE, NAME, TOPIC
from murmuration.protocol.events import Event
from murmuration.protocol.filters import EventFilter, parse_room_event_filter
from murmuration.protocol.identifiers import RoomId
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.rooms.reading.aggregations import bundle, matching_relations
from murmuration.rooms.reading.client_events import Aggregations, client_event, state_event
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.past_state import pick_state_after
from murmuration.rooms.reading.timeline import Scan
from murmuration.rooms.reading.viewing import View
from murmuration.rooms.reading.visibility import Seen, Viewer
from murmuration.rooms.room import Room, prefetch
from murmuration.search.newest_first import NewestFirst
from murmuration.storage import scan_places
from murmuration.storage.rooms import room_items
from murmuration.storage.users import memberships

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import UserId
    from murmuration.search.json_types import ResultContext, ResultGroup, SearchResult

PURPOSE = "search"
KEYS = {
    "content.body": (MESSAGE, "body"),
    "content.name": (NAME, "name"),
    "content.topic": (TOPIC, "topic"),
}
"""For each key of a search: the type of events, and the property of their content, that it searches."""
DEFAULT, MOST = 10, 100
MOST_CONTEXT, DEFAULT_CONTEXT = 20, 5
CONTEXT_SECONDS = 5.0
"""After this time no more contexts are read. The scan may have taken as long before, and a request may take
29 s."""
MOST_WORDS, MOST_TERM_BYTES = 20, 1_000
MOST_UPGRADES = 10
"""How many upgrades of a room a search follows back."""
GROUPS = ("room_id", "sender")
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u06d6-\u06ed\u0900-\u0963\u0971-\u0dff"
    "\u0e31-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ebc\u0ec8-\u0ecd\u0f71-\u0f84\u102b-\u103e\u17b4-\u17d3"
)
"""Accents, and vowels that are written as marks. `re` doesn't count them as characters of a word."""
_WORD = re.compile(rf"[\w{_MARKS}]+")


@dataclass(frozen=True, slots=True)
class Criteria:
    """The terms to search for, and what to return. `context` is (before, after, with profiles)."""

    words: tuple[str, ...]
    keys: tuple[str, ...]
    event_filter: EventFilter
    by_rank: bool
    context: tuple[int, int, bool] | None
    include_state: bool
    groups: tuple[str, ...]

    @classmethod
    def parse(cls, body: Fields) -> Criteria | None:
        """Return the criteria in a request's body; None if it searches no category.

        Raises MissingParam, BadJson, InvalidParam.
        """
        if "search_categories" not in body.values:
            raise MissingParam("search_categories is missing")
        category = Fields(body.object("search_categories")).optional_object("room_events")
        if category is None:
            return None
        fields = Fields(category)
        term = fields.string("search_term")
        if len(term.encode()) > MOST_TERM_BYTES:
            raise InvalidParam(f"search_term may have {MOST_TERM_BYTES} bytes")
        keys = tuple(fields.strings("keys")) or tuple(KEYS)
        if unknown := [key for key in keys if key not in KEYS]:
            raise InvalidParam(f"{unknown[0][:40]!r} can't be searched")
        context = fields.optional_object("event_context")
        return cls(
            words=tuple(dict.fromkeys(_words(term)))[:MOST_WORDS],
            keys=keys,
            event_filter=parse_room_event_filter(fields.object("filter")),
            by_rank=_order(fields) == "rank",
            context=_context(Fields(context)) if context is not None else None,
            include_state=fields.boolean("include_state", default=False),
            groups=_groups(Fields(fields.object("groupings"))),
        )


def _order(fields: Fields) -> str:
    return fields.choice("order_by", ("rank", "recent")) if "order_by" in fields.values else "rank"


def _context(fields: Fields) -> tuple[int, int, bool]:
    before, after = (
        min(fields.integer(name, DEFAULT_CONTEXT), MOST_CONTEXT) for name in ("before_limit", "after_limit")
    )
    return before, after, fields.boolean("include_profile", default=False)


def _groups(fields: Fields) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.choice("key", GROUPS) for each in fields.objects("group_by")))


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@dataclass(frozen=True, slots=True)
class _Hit:
    room: Room
    viewer: Viewer
    seen: Seen
    rank: float


@dataclass(frozen=True, slots=True)
class _Start:
    """The beginning of a page: the positions in the rooms, None for their ends, and the page's group.

    A group is a sender or a room. Its token is the token of all results, a dot and the group's name in
    Base64.
    """

    places: Mapping[str, int] | None = None
    sender: str = ""

    @classmethod
    def parse(cls, requester: Requester, token: str | None) -> _Start:
        """Return the beginning that a token names. Raises InvalidParam for an unknown token."""
        if token is None:
            return cls()
        name, _, encoded = token.partition(".")
        places = scan_places.read(requester.user_id, PURPOSE, name)
        try:
            group = unpadded_base64.decode(encoded).decode()
        except ValueError:
            places, group = None, ""
        if places is None:
            raise InvalidParam("next_batch is not a token of a search, or has expired")
        if group.startswith("!"):
            places = {room_id: place for room_id, place in places.items() if room_id == group}
        return cls(places, group if group.startswith("@") else "")

    @staticmethod
    def token(name: str, group: str) -> str:
        """Return the token of a group's next page; if `group` is empty, that of all results."""
        return f"{name}.{unpadded_base64.encode_urlsafe(group.encode())}" if group else name


def search(requester: Requester, body: Fields, start: str | None) -> Answer:
    """Return the events that contain, for each word of the search term, a word that begins with it.

    Without `recent` a page's events are ordered by rank. `start` is an earlier answer's `next_batch`. Raises
    what `Criteria.parse` raises, InvalidParam for an unknown token, LimitExceeded.
    """
    criteria = Criteria.parse(body)
    if criteria is None:
        return {"search_categories": {}}
    rate_limits.check("search", requester.user_id)
    begin = _Start.parse(requester, start)
    hits, left = _find(requester, criteria, begin)
    if criteria.by_rank:
        hits.sort(key=lambda hit: -hit.rank)
    budget = Budget(LIST_BYTES)
    results = []
    related = _aggregations(hits)
    context, deadline = criteria.context, time.monotonic() + CONTEXT_SECONDS
    for hit in hits:
        if time.monotonic() > deadline:
            context = None
        result = _result(requester, context, hit, related)
        if not budget.take(json_bytes(result)):
            result.pop("context", None)
            budget.spend(json_bytes(result))
            context = None  # trying further contexts that don't fit either would take long
        results.append(result)
    found: Answer = {"count": len(hits), "highlights": list(criteria.words), "results": results}
    more = scan_places.write(requester.user_id, PURPOSE, left) if left else ""
    if more:
        found["next_batch"] = _Start.token(more, begin.sender)
    if criteria.groups:
        groups = {name: _grouped(hits, name) for name in criteria.groups}
        _page_groups(groups, left, more, begin)
        found["groups"] = groups
    if criteria.include_state:
        found["state"] = _states(hits, budget)
    return {"search_categories": {"room_events": found}}


def _find(requester: Requester, criteria: Criteria, begin: _Start) -> tuple[list[_Hit], dict[str, int]]:
    """Return the events of a page, newest first, and the positions at which the scan continues."""
    wanted = criteria.event_filter
    limit = wanted.limit_within(default=DEFAULT, maximum=MOST)
    hits: list[_Hit] = []
    if not criteria.words or not limit or wanted.admits_nothing:
        return hits, {}
    rows = memberships.read_memberships(requester.user_id)
    rows = [each for each in rows if each.membership in ("join", "leave", "ban")]
    wanted = _with_predecessors(wanted, {each.room_id for each in rows})
    rooms = [each for each in rows if wanted.admits_room(each.room_id)]
    scan = NewestFirst(requester.user_id, requester.device_id, rooms, begin.places, encrypted=False)
    size = 0
    for room, viewer, seen in scan:
        event = seen.entry.event
        if seen.entry.redacted_because is not None or not wanted.matches(event.pdu, room.room_id):
            continue
        if begin.sender and event.sender != begin.sender:
            continue
        rank = _rank(criteria, event)
        if rank and not (wanted.needs_relations and not matching_relations(room, [seen], wanted)):
            hits.append(_Hit(room, viewer, seen, rank))
            size += len(event.to_json())
            if len(hits) >= limit or size > LIST_BYTES // 4:
                break
    return hits, scan.places_left()


def _with_predecessors(wanted: EventFilter, own: set[RoomId]) -> EventFilter:
    """Return the filter with the predecessors of its rooms added, if the user has been in them.

    Clients name only the current room, but its older messages are in the rooms that it replaced.
    """
    if wanted.rooms is None:
        return wanted
    rooms = dict.fromkeys(wanted.rooms)
    newest = sorted(room_id for room_id in own if room_id in rooms)
    for _ in range(MOST_UPGRADES):
        heads = fetch_all([room_items.head_read(room_id) for room_id in newest])
        found = [Room(head) for head in heads if head is not None]
        prefetch(found, [CREATE_KEY])
        named = {_predecessor(room) for room in found}
        newest = sorted(room_id for room_id in own if room_id in named and room_id not in rooms)
        if not newest:
            break
        rooms |= dict.fromkeys(newest)
    return replace(wanted, rooms=tuple(rooms))


def _predecessor(room: Room) -> str | None:
    create = room.event(*CREATE_KEY)
    named = create.content.get("predecessor") if create is not None else None
    room_id = named.get("room_id") if isinstance(named, Mapping) else None
    return room_id if isinstance(room_id, str) else None


def _rank(criteria: Criteria, event: Event) -> float:
    """Return how well an event fits, between 0 and 1; 0 if a word of the term is missing."""
    words = [word for text in _texts(criteria.keys, event) for word in _words(text)]
    fitting = 0
    for wanted in criteria.words:
        count = sum(word.startswith(wanted) for word in words)
        if not count:
            return 0
        fitting += count
    return fitting / len(words)


def _texts(keys: Iterable[str], event: Event) -> list[str]:
    """Return the texts of an event that are searched."""
    texts: list[object] = []
    for key in keys:
        event_type, name = KEYS[key]
        if event.type != event_type:
            continue
        texts.append(event.content.get(name))
        block = event.content.get("m.topic") if key == "content.topic" else None
        variants = block.get("m.text") if isinstance(block, Mapping) else None
        for each in variants if isinstance(variants, list) else ():
            if isinstance(each, Mapping) and each.get("mimetype", "text/plain") == "text/plain":
                texts.append(each.get("body"))
    return [text for text in texts if isinstance(text, str)]


def _aggregations(hits: Sequence[_Hit]) -> Aggregations:
    """Return the bundled aggregations of the events. Reads nothing for events without relations."""
    rooms: dict[str, list[_Hit]] = {}
    for hit in hits:
        rooms.setdefault(hit.room.room_id, []).append(hit)
    found = concurrency.parallel(
        *(
            functools.partial(bundle, [each.seen.entry for each in some], some[0].viewer)
            for some in rooms.values()
        )
    )
    return {event_id: bundled for bundles in found for event_id, bundled in bundles.items()}


def _result(
    requester: Requester, context: tuple[int, int, bool] | None, hit: _Hit, related: Aggregations
) -> SearchResult:
    entry, membership = hit.seen
    relations = related.get(entry.event.event_id)
    shown = client_event(entry, hit.viewer, membership=membership, relations=relations)
    result: SearchResult = {"rank": hit.rank, "result": shown}
    if context is not None:
        result["context"] = _context_of(requester, hit, *context)
    return result


def _context_of(
    requester: Requester, hit: _Hit, before_limit: int, after_limit: int, with_profiles: bool
) -> ResultContext:
    """Return the events around a hit that the requester may see; those before it with the newest first."""
    view = View(requester, hit.room, hit.viewer, None)
    ordinal, head = hit.seen.entry.ordinal, hit.room.head
    before = Scan(view, EventFilter(), ordinal - 1, head.oldest - 1, forward=False)
    after = Scan(view, EventFilter(), ordinal, max(head.ordinal, ordinal), forward=True)
    if before_limit:
        before.run(before_limit)
    if after_limit:
        after.run(after_limit)
    context: ResultContext = {
        "start": position_token(before.position),
        "end": position_token(after.position),
        "events_before": [_shown(each, hit.viewer) for each in before.found[:before_limit]],
        "events_after": [_shown(each, hit.viewer) for each in after.found[:after_limit]],
    }
    if with_profiles:
        around = [*before.found[:before_limit], hit.seen, *after.found[:after_limit]]
        context["profile_info"] = _profiles(hit, {each.entry.event.sender for each in around})
    return context


def _shown(seen: Seen, viewer: Viewer) -> ClientEvent:
    return client_event(seen.entry, viewer, membership=seen.membership)


def _profiles(hit: _Hit, senders: Iterable[UserId]) -> dict[str, dict[str, str]]:
    """Return the profiles that these users had when the event was sent; erased users have none."""
    state = pick_state_after(hit.room, hit.seen.entry, [(MEMBER, sender) for sender in sorted(senders)])
    shown = {user_id: hit.viewer.event_copy(event) for (_, user_id), event in state.items()}
    return {
        user_id: {
            name: event.content[name]
            for name in ("displayname", "avatar_url")
            if isinstance(event.content.get(name), str)
        }
        for user_id, event in shown.items()
    }


def _grouped(hits: Sequence[_Hit], name: str) -> dict[str, ResultGroup]:
    groups: dict[str, ResultGroup] = {}
    for hit in hits:
        event = hit.seen.entry.event
        value = hit.room.room_id if name == "room_id" else event.sender
        group = groups.setdefault(value, {"order": len(groups) + 1, "results": []})
        group["results"].append(event.event_id)
    return groups


def _page_groups(
    groups: Mapping[str, Mapping[str, ResultGroup]], left: Mapping[str, int], more: str, begin: _Start
) -> None:
    """Add `next_batch` to the groups that may have more results: those of rooms that aren't scanned to their
    end.

    In pages of one sender's events, rooms have no token of their own: it would have to name two groups.
    """
    for name, some in groups.items():
        for value, group in some.items():
            if more and (value in left and not begin.sender if name == "room_id" else True):
                group["next_batch"] = _Start.token(more, value)


def _states(hits: Sequence[_Hit], budget: Budget) -> dict[str, list[ClientEvent]]:
    """Return the current state of the results' rooms; of the members only the results' senders."""
    states: dict[str, list[ClientEvent]] = {}
    senders: dict[str, set[UserId]] = {}
    for hit in hits:
        senders.setdefault(hit.room.room_id, set()).add(hit.seen.entry.event.sender)
    for hit in hits:
        room = hit.room
        if room.room_id in states or not hit.viewer.is_joined:
            continue
        entries = room_items.read_state_but_members(room.room_id, room.version)
        members = room.entries([(MEMBER, user_id) for user_id in senders[room.room_id]])
        events = [state_event(entry.event, hit.viewer) for entry in (*entries, *members.values())]
        if not budget.take(json_bytes(events)):
            break
        states[room.room_id] = events
    return states
