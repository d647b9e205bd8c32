"""Bundled aggregations: a summary of the events that relate to an event, in its `unsigned`.

https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from murmuration.aws.concurrency import parallel
from murmuration.protocol.filters import EventFilter
from murmuration.rooms.reading.client_events import client_event
from murmuration.rooms.reading.visibility import STILL_JOINED, Seen, Viewer, seen_by
from murmuration.rooms.room import Room
from murmuration.storage.rooms import relations, room_items
from murmuration.storage.rooms.relations import REFERENCE, REPLACE, THREAD, Relation
from murmuration.storage.rooms.room_items import LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import BundledRelations, ClientEvent, EventReference
    from murmuration.protocol.identifiers import EventId, RoomId

Bundles: TypeAlias = "dict[str, BundledRelations]"
"""`m.relations` by the ID of the event that it belongs to."""

MAX_REFERENCES = 1_000
"""How many references to an event it includes at most: the newest. /relations returns all of them."""
_CANDIDATES = 10
"""How many edits, or newest events of a thread, are searched for one that the viewer may see."""


def bundle(entries: Sequence[LogEntry], viewer: Viewer, *, with_room_id: bool = True) -> Bundles:
    """Return the aggregations of events of one room, by event ID, without those that have none.

    If no event has related events, it reads nothing; otherwise it takes two or three round trips for all
    events together. State events have no aggregations.
    """
    return _bundle(entries, viewer, (REPLACE, REFERENCE, THREAD), with_room_id)


def _bundle(
    entries: Sequence[LogEntry], viewer: Viewer, groups: Sequence[str], with_room_id: bool
) -> Bundles:
    wanted = [
        _Parent(entry, entry.groups.intersection(groups))
        for entry in entries
        if not entry.groups.isdisjoint(groups) and not entry.event.is_state
    ]
    if not wanted:
        return {}
    page = _Page(entries[0].room_id, viewer, wanted, with_room_id)
    page.read_relations()
    page.read_children()
    bundles = {parent.event_id: page.aggregate(parent) for parent in wanted}
    return {event_id: found for event_id, found in bundles.items() if found}


def matching_relations(room: Room, seen: Sequence[Seen], event_filter: EventFilter) -> list[Seen]:
    """Return the events whose related events match the filter's `related_by_` properties."""
    rel_types = event_filter.related_by_rel_types
    groups = relations.GROUPS if rel_types is None else {relations.group_of(each) for each in rel_types}
    wanted = [
        (each.entry.event.event_id, group)
        for each in seen
        for group in each.entry.groups.intersection(groups)
    ]
    pages = parallel(*(functools.partial(relations.read_relations, room.room_id, *each) for each in wanted))
    found: dict[str, list[tuple[str, str]]] = {}
    for (event_id, _), page in zip(wanted, pages, strict=True):
        found.setdefault(event_id, []).extend((relation.rel_type, relation.sender) for relation in page)
    return [each for each in seen if event_filter.matches_relations(found.get(each.entry.event.event_id, ()))]


@dataclass(slots=True)
class _Parent:
    """An event with related events, and those relations that are used."""

    entry: LogEntry
    groups: frozenset[str]
    edits: list[Relation] = field(default_factory=list)
    references: list[Relation] = field(default_factory=list)
    thread: list[Relation] = field(default_factory=list)
    replies: int = 0

    @property
    def event_id(self) -> EventId:
        return self.entry.event.event_id


@dataclass(slots=True)
class _Page:
    """The aggregation of several events of a room for one viewer."""

    room_id: RoomId
    viewer: Viewer
    parents: list[_Parent]
    with_room_id: bool
    participated: set[str] = field(default_factory=set)
    ignored_replies: dict[str, int] = field(default_factory=dict)
    children: dict[int, Seen] = field(default_factory=dict)
    of_children: Bundles = field(default_factory=dict)

    def read_relations(self) -> None:
        """Read the events that relate to the parents. One round trip."""
        calls: list[Callable[[], None]] = []
        for parent in self.parents:
            if REPLACE in parent.groups and parent.entry.redacted_because is None:
                calls.append(functools.partial(self._read_edits, parent))
            if REFERENCE in parent.groups:
                calls.append(functools.partial(self._read_references, parent))
            if THREAD in parent.groups and parent.entry.replies > 0:
                calls.append(functools.partial(self._read_thread, parent))
        threads = [parent for parent in self.parents if THREAD in parent.groups]
        if threads:
            calls.append(functools.partial(self._read_participants, threads))
        parallel(*calls)

    def _read(self, parent: _Parent, group: str, limit: int | None = None) -> list[Relation]:
        """Return the newest relations of a group, without ignored senders and without events that are too
        late for the viewer.
        """
        until = self.viewer.joined_until
        before = None if until is None or until == STILL_JOINED else until + 1
        found = relations.read_relations(
            self.room_id, parent.event_id, group, before=before, limit=limit, forward=False
        )
        return [relation for relation in found if relation.sender not in self.viewer.ignored]

    def _read_edits(self, parent: _Parent) -> None:
        event = parent.entry.event
        parent_of_event = relations.parent_of(event)
        if parent_of_event is not None and parent_of_event[1] == REPLACE:
            return
        valid = [
            relation
            for relation in self._read(parent, REPLACE)
            if relation.replaces and (relation.sender, relation.event_type) == (event.sender, event.type)
        ]
        parent.edits = sorted(valid, key=lambda edit: (edit.ts, edit.event_id), reverse=True)[:_CANDIDATES]

    def _read_references(self, parent: _Parent) -> None:
        parent.references = self._read(parent, REFERENCE, MAX_REFERENCES)[::-1]

    def _read_thread(self, parent: _Parent) -> None:
        """Read the thread's newest events and, for a viewer who left the room, also their number at that
        time.
        """
        ignoring = len(self.viewer.ignored)
        limit = _CANDIDATES + min(ignoring, 40) if self.viewer.is_joined else None
        found = self._read(parent, THREAD, limit)
        parent.replies = parent.entry.replies if self.viewer.is_joined else len(found)
        parent.thread = found[:_CANDIDATES]

    def _read_participants(self, threads: Sequence[_Parent]) -> None:
        users = {self.viewer.user_id, *(self.viewer.ignored if self.viewer.is_joined else ())}
        counts = relations.read_reply_counts(self.room_id, [parent.event_id for parent in threads], users)
        for (root_id, user_id), count in counts.items():
            if user_id == self.viewer.user_id:
                self.participated.add(root_id)
            else:
                self.ignored_replies[root_id] = self.ignored_replies.get(root_id, 0) + count

    def read_children(self) -> None:
        """Read the related events that are shown or may not be visible, and the relations to them."""
        doubtful = [
            relation.ordinal
            for parent in self.parents
            for relation in parent.references
            if not self._saw(relation)
        ]
        shown = [
            ordinal
            for parent in self.parents
            for candidates in (parent.edits, parent.thread)
            for ordinal in self._first_visible(candidates)
        ]
        self.children = self._read_entries([*doubtful, *shown])
        latest = [seen.entry for parent in self.parents if (seen := self._first(parent.thread))]
        if latest:
            self.of_children = _bundle(latest, self.viewer, (REPLACE, REFERENCE), self.with_room_id)

    def _first_visible(self, candidates: Sequence[Relation]) -> list[int]:
        """Return the ordinals to read for the first of the candidates that the viewer may see."""
        ordinals = []
        for relation in candidates:
            ordinals.append(relation.ordinal)
            if self._saw(relation):
                break
        return ordinals

    def _read_entries(self, ordinals: Iterable[int]) -> dict[int, Seen]:
        version = self.parents[0].entry.event.room_version
        keys = [(self.room_id, ordinal) for ordinal in dict.fromkeys(ordinals)]
        entries = room_items.read_log_entries(keys, {self.room_id: version})
        return {seen.entry.ordinal: seen for seen in seen_by(self.viewer, entries)}

    def _first(self, candidates: Iterable[Relation]) -> Seen | None:
        found = (self.children.get(relation.ordinal) for relation in candidates)
        return next((seen for seen in found if seen is not None), None)

    def _saw(self, relation: Relation) -> bool:
        return self.viewer.was_joined_throughout(relation.ordinal, aside=relation.aside)

    def _is_visible(self, relation: Relation) -> bool:
        return relation.ordinal in self.children or self._saw(relation)

    def aggregate(self, parent: _Parent) -> BundledRelations:
        """Return the `m.relations` of an event."""
        bundled: BundledRelations = {}
        edit = self._first(parent.edits)
        if edit is not None:
            bundled[REPLACE] = self._render(edit)
        referring: list[EventReference] = [
            {"event_id": each.event_id} for each in parent.references if self._is_visible(each)
        ]
        if referring:
            bundled[REFERENCE] = {"chunk": referring}
        latest = self._first(parent.thread)
        if latest is not None:
            sender = parent.entry.event.sender
            bundled[THREAD] = {
                "latest_event": self._render(latest),
                "count": parent.replies - self.ignored_replies.get(parent.event_id, 0),
                "current_user_participated": (
                    sender == self.viewer.user_id or parent.event_id in self.participated
                ),
            }
        return bundled

    def _render(self, seen: Seen) -> ClientEvent:
        return client_event(
            seen.entry,
            self.viewer,
            membership=seen.membership or "leave",
            relations=self.of_children.get(seen.entry.event.event_id),
            with_room_id=self.with_room_id,
        )
