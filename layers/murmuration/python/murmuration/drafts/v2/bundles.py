"""Events in version 2's form: an event includes its updates and its replies.

A child that updates its parent (by `updates`, or today's m.replace) isn't shown alone: all such children are
in the parent's `updated_by`, oldest first. Every other child is in `replies`: the newest ones, with a token
for those before. https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from murmuration.aws.concurrency import parallel
from murmuration.protocol.events import Event
from murmuration.protocol.filters import SyncFilter
from murmuration.rooms.reading.client_events import client_event
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.visibility import STILL_JOINED, Seen, Viewer, seen_by
from murmuration.storage.rooms import relations, room_items
from murmuration.storage.rooms.relations import GROUPS, UPDATING, Relation
from murmuration.storage.rooms.room_items import LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonDict
    from murmuration.protocol.identifiers import EventId

RELATING = tuple(group for group in GROUPS if group not in UPDATING)
MAX_UPDATES = 100
"""How many updates an event includes at most: the newest."""
MAX_REPLIES = 50
DEPTH = 3
"""How many levels of updates of updates are included."""
_MAX_CHILDREN = 500
_MAX_CHILD_BYTES = 1_500_000
"""The maximum size of all children in an answer: a Lambda's answer is limited to 6 MB."""


@dataclass(frozen=True, slots=True)
class EventForm:
    """The form in which a client wants its events: with updates inside or not, how many replies, as PDUs or
    not.

    `fields` are the paths of the properties that it wants of each event (None: all), except the children.
    """

    updates: bool = True
    replies: int = 0
    federation: bool = False
    fields: tuple[tuple[str, ...], ...] | None = None

    def admits(self, event: Event) -> bool:
        """Return whether the history shows the event by itself. An event that only updates another is shown
        inside that one.
        """
        return not (self.updates and relations.is_update(event))

    def project(self, shown: dict[str, Any]) -> dict[str, Any]:
        return shown if self.fields is None else SyncFilter(event_fields=self.fields).project(shown)


@dataclass(slots=True)
class _Family:
    """The events that relate to one event. `limited` says that it has more updates; `start` is the token for
    earlier replies.
    """

    updates: list[Relation] = field(default_factory=list)
    replies: list[Relation] = field(default_factory=list)
    start: str | None = None
    limited: bool = False


def render_event(
    seen: Seen, viewer: Viewer, *, with_room_id: bool = True, federation: bool = False
) -> JsonDict:
    """Return an event in version 2's form, without its children. Reads nothing.

    Deleted state has no `content`. `action_id` is the sender's own name for the event; only the client that
    sent it gets it.
    """
    event = client_event(
        seen.entry,
        viewer,
        membership=seen.membership or "leave",
        with_room_id=with_room_id,
        event_format="federation" if federation else "client",
    )
    shown = cast("JsonDict", event)
    if (action_id := shown["unsigned"].get("transaction_id")) is not None:
        shown["action_id"] = action_id
    if seen.entry.event.is_state and not seen.entry.event.content:
        del shown["content"]
    return shown


def render_state(event: Event, viewer: Viewer, *, with_room_id: bool = True) -> dict[str, Any]:
    """Return a state event in version 2's form, if only the event itself was read."""
    entry = LogEntry(ordinal=0, event=viewer.event_copy(event), state_root=b"", visibility="shared")
    shown = render_event(Seen(entry, None), viewer, with_room_id=with_room_id)
    del shown["unsigned"]["membership"]
    return shown


def render_events(
    seen: Sequence[Seen], viewer: Viewer, form: EventForm, *, with_room_id: bool = True
) -> list[JsonDict]:
    """Return events of one room in version 2's form, with the children that `form` asks for.

    If other events relate to them, it takes two or three round trips for each level of updates, for all
    events together. Otherwise it reads nothing.
    """
    if not seen:
        return []
    page = _Page(viewer, form, with_room_id)
    page.gather([each.entry for each in seen])
    return [page.render(each) for each in seen]


@dataclass(slots=True)
class _Page:
    """The bundles of some events of a room, for one viewer."""

    viewer: Viewer
    form: EventForm
    with_room_id: bool
    families: dict[str, _Family] = field(default_factory=dict)
    children: dict[int, Seen] = field(default_factory=dict)
    bytes: int = 0
    left_out: set[int] = field(default_factory=set)

    def gather(self, entries: Sequence[LogEntry]) -> None:
        """Read the events that relate to `entries`, and the events that relate to those."""
        level, wants_replies = list(entries), self.form.replies > 0
        gathered: set[str] = set()
        for _ in range(DEPTH):
            level = [entry for entry in level if entry.event.event_id not in gathered]
            gathered.update(entry.event.event_id for entry in level)
            calls = []
            for entry in level:
                if self.form.updates and entry.redacted_because is None:
                    calls += self._calls(entry, UPDATING, MAX_UPDATES + 1)
                if wants_replies:
                    calls += self._calls(entry, RELATING, self.form.replies + 1)
            if not calls:
                return
            parallel(*calls)
            for entry in level:
                self._settle(entry.event.event_id)
            level, wants_replies = self._read_children(level), False

    def _calls(self, entry: LogEntry, groups: Iterable[str], limit: int) -> list[functools.partial[None]]:
        wanted = [] if entry.event.is_state else [group for group in groups if group in entry.groups]
        return [functools.partial(self._read, entry, group, limit) for group in wanted]

    def _read(self, entry: LogEntry, group: str, limit: int) -> None:
        """Read the newest relations of one group, from before the viewer left, and add them to `families`."""
        until = self.viewer.joined_until
        found = relations.read_relations(
            entry.room_id,
            entry.event.event_id,
            group,
            before=None if until is None or until == STILL_JOINED else until + 1,
            limit=limit,
            forward=False,
        )
        family = self.families.setdefault(entry.event.event_id, _Family())
        kin = family.updates if group in UPDATING else family.replies
        kin += found

    def _settle(self, event_id: EventId) -> None:
        """Sort an event's relations in the order of the log, and drop those beyond the limits of a bundle."""
        family = self.families.get(event_id)
        if family is None:
            return
        family.limited = len(family.updates) > MAX_UPDATES
        family.updates = sorted(family.updates, key=_by_ordinal)[-MAX_UPDATES:]
        replies, wanted = sorted(family.replies, key=_by_ordinal), self.form.replies
        family.replies = replies[-wanted:] if wanted else []
        if len(replies) > wanted:
            family.start = position_token(family.replies[0].ordinal - 1)

    def _read_children(self, level: Sequence[LogEntry]) -> list[LogEntry]:
        """Return the children that the viewer may see, as many as a bundle allows, those of the first events
        first.
        """
        wanted: dict[int, None] = {}
        for entry in level:
            family = self.families.get(entry.event.event_id, _Family())
            for relation in (*family.updates, *family.replies):
                wanted[relation.ordinal] = None
        fresh = [ordinal for ordinal in wanted if ordinal not in self.children]
        chosen = fresh[: _MAX_CHILDREN - len(self.children)]
        self.left_out.update(fresh[len(chosen) :])
        if not chosen:
            return []
        room_id, version = level[0].room_id, level[0].event.room_version
        entries = room_items.read_log_entries([(room_id, ordinal) for ordinal in chosen], {room_id: version})
        found: list[LogEntry] = []
        for seen in seen_by(self.viewer, sorted(entries, key=lambda entry: entry.ordinal)):
            self.bytes += len(seen.entry.event.to_json())
            if self.bytes > _MAX_CHILD_BYTES:
                self.left_out.add(seen.entry.ordinal)
                continue
            self.children[seen.entry.ordinal] = seen
            found.append(seen.entry)
        return found

    def render(self, seen: Seen, depth: int = 0) -> dict[str, Any]:
        """Return an event with its children; `depth` is how many events enclose it."""
        federation = self.form.federation
        whole = render_event(seen, self.viewer, with_room_id=self.with_room_id, federation=federation)
        shown = self.form.project(whole)
        family = self.families.get(seen.entry.event.event_id)
        if family is None or depth == DEPTH:
            return shown
        if updates := self._rendered(family.updates, depth):
            shown["updated_by"] = updates
        replies = family.replies if depth == 0 else []
        if replies:
            start = {"start": family.start} if family.start is not None else {}
            shown["replies"] = {**start, "chunk": self._rendered(replies, depth)}
        if family.limited or any(each.ordinal in self.left_out for each in (*family.updates, *replies)):
            shown["limited"] = True
        return shown

    def _rendered(self, kin: Iterable[Relation], depth: int) -> list[dict[str, Any]]:
        found = [self.children[each.ordinal] for each in kin if each.ordinal in self.children]
        return [self.render(each, depth + 1) for each in found]


def _by_ordinal(relation: Relation) -> int:
    return relation.ordinal
