"""Filters: which events, and in which form, a client wants from /sync, /messages, /context and /search.

https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from murmuration.protocol.encoding.globs import glob
from murmuration.protocol.encoding.property_paths import ABSENT, parse_path, value_at
from murmuration.protocol.errors import BadJson, InvalidParam
from murmuration.protocol.identifiers import RoomId, UserId

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import AnyClientEvent
    from murmuration.protocol.encoding.shapes import EventFields

EventFormat: TypeAlias = Literal["client", "federation"]
AnyEvent = TypeVar("AnyEvent", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class EventFilter:
    """The specification's EventFilter and RoomEventFilter.

    A list that is None allows everything, an empty list nothing; an entry of a `not_` list is never allowed.
    `limit` is None if the server may choose it. For presence and global account data the fields after
    `not_senders` keep their defaults.
    """

    limit: int | None = None
    types: tuple[str, ...] | None = None
    not_types: tuple[str, ...] = ()
    senders: tuple[UserId, ...] | None = None
    not_senders: tuple[UserId, ...] = ()
    rooms: tuple[str, ...] | None = None
    not_rooms: tuple[str, ...] = ()
    contains_url: bool | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False
    related_by_senders: tuple[UserId, ...] | None = None
    related_by_rel_types: tuple[str, ...] | None = None

    def matches(self, event: EventFields, room_id: RoomId | None = None) -> bool:
        """Return whether the event passes the filter, except for its conditions on relations.

        `room_id` is the event's room, if the event itself doesn't have it. An event without a sender doesn't
        pass a list of senders.
        """
        room_id = event.get("room_id", room_id)
        return (
            self.admits_type(event.get("type"))
            and _admits(event.get("sender"), self.senders, self.not_senders)
            and (room_id is None or self.admits_room(room_id))
            and (self.contains_url is None or self.contains_url == _has_url(event))
        )

    def apply(self, events: Iterable[AnyEvent]) -> list[AnyEvent]:
        """Return the events that pass, in their order. The caller applies `limit`, because only it knows at
        which end to cut.
        """
        return [event for event in events if self.matches(event)]

    def admits_type(self, event_type: object) -> bool:
        if not isinstance(event_type, str) or any(_type_matches(each, event_type) for each in self.not_types):
            return False
        return self.types is None or any(_type_matches(each, event_type) for each in self.types)

    def admits_room(self, room_id: RoomId) -> bool:
        return _admits(room_id, self.rooms, self.not_rooms)

    @property
    def admits_everything(self) -> bool:
        """Whether every event passes, except for conditions on relations."""
        return self.contains_url is None and all(
            admitted is None and not refused
            for admitted, refused in (
                (self.types, self.not_types),
                (self.senders, self.not_senders),
                (self.rooms, self.not_rooms),
            )
        )

    @property
    def admits_nothing(self) -> bool:
        """Whether no event can pass, so that no events need to be read."""
        return () in (self.types, self.senders, self.rooms) or "*" in self.not_types

    @property
    def needs_relations(self) -> bool:
        """Whether `matches_relations` has to be called too."""
        return self.related_by_senders is not None or self.related_by_rel_types is not None

    def matches_relations(self, relations: Iterable[tuple[str, str]]) -> bool:
        """Return whether the filter's conditions hold for one of the related events, given as (rel_type,
        sender).
        """
        return not self.needs_relations or any(
            _admits(rel_type, self.related_by_rel_types, ()) and _admits(sender, self.related_by_senders, ())
            for rel_type, sender in relations
        )

    def limit_within(self, *, default: int, maximum: int) -> int:
        """Return the maximum number of events to return."""
        return min(default if self.limit is None else self.limit, maximum)


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """A client's filter for rooms. `rooms` and `not_rooms` are applied before those of the four event
    filters.
    """

    rooms: tuple[str, ...] | None = None
    not_rooms: tuple[str, ...] = ()
    include_leave: bool = False
    ephemeral: EventFilter = field(default_factory=EventFilter)
    state: EventFilter = field(default_factory=EventFilter)
    timeline: EventFilter = field(default_factory=EventFilter)
    account_data: EventFilter = field(default_factory=EventFilter)

    def admits_room(self, room_id: RoomId) -> bool:
        return _admits(room_id, self.rooms, self.not_rooms)


@dataclass(frozen=True, slots=True)
class SyncFilter:
    """The filter of a /sync. `event_fields` are paths of property names; None means whole events."""

    event_fields: tuple[tuple[str, ...], ...] | None = None
    event_format: EventFormat = "client"
    presence: EventFilter = field(default_factory=EventFilter)
    account_data: EventFilter = field(default_factory=EventFilter)
    room: RoomFilter = field(default_factory=RoomFilter)

    def project(self, event: AnyClientEvent) -> AnyClientEvent:
        """Return the event with only the `event_fields`."""
        if self.event_fields is None:
            return event
        projected: Any = {}
        for names in self.event_fields:
            value = value_at(event, names)
            if value is not ABSENT:
                within = projected
                for name in names[:-1]:
                    within = within.setdefault(name, {})
                within[names[-1]] = value
        found: AnyClientEvent = projected
        return found


def parse_filter(value: object) -> SyncFilter:
    """Return the filter of a /sync from its JSON. Unknown properties are ignored.

    Raises BadJson if a list or object has another type, InvalidParam for an invalid value.
    """
    whole = _Reader(value, "")
    room = whole.section("room")
    return SyncFilter(
        event_fields=_parse_event_fields(whole.strings("event_fields")),
        event_format=_parse_event_format(whole.get("event_format")),
        presence=_parse_event_filter(whole.section("presence")),
        account_data=_parse_event_filter(whole.section("account_data")),
        room=RoomFilter(
            rooms=room.strings("rooms", sigil="!"),
            not_rooms=room.strings("not_rooms", sigil="!") or (),
            include_leave=room.boolean("include_leave") or False,
            ephemeral=_parse_room_event_filter(room.section("ephemeral")),
            state=_parse_room_event_filter(room.section("state")),
            timeline=_parse_room_event_filter(room.section("timeline")),
            account_data=_parse_room_event_filter(room.section("account_data")),
        ),
    )


def parse_room_event_filter(value: object) -> EventFilter:
    """Return the filter of /messages, /context or /search from its JSON; raises what `parse_filter` does."""
    return _parse_room_event_filter(_Reader(value, ""))


class _Reader:
    """An object in a filter's JSON, whose properties are checked when they are read."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise BadJson(f"'{path}' of a filter must be an object" if path else "A filter must be an object")
        self._value = value
        self._path = path

    def get(self, name: str) -> object:
        return self._value.get(name, ABSENT)

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def section(self, name: str) -> _Reader:
        return _Reader(self._value.get(name, {}), self.path(name))

    def strings(self, name: str, sigil: str = "") -> tuple[str, ...] | None:
        values = self.get(name)
        if values is ABSENT:
            return None
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise BadJson(f"'{self.path(name)}' of a filter must be a list of strings")
        for value in values:
            if not value.startswith(sigil):
                raise InvalidParam(f"'{self.path(name)}' of a filter must hold IDs that start with '{sigil}'")
        return tuple(values)

    def boolean(self, name: str) -> bool | None:
        value = self.get(name)
        if value is ABSENT:
            return None
        if not isinstance(value, bool):
            raise BadJson(f"'{self.path(name)}' of a filter must be true or false")
        return value

    def user_ids(self, name: str) -> tuple[UserId, ...] | None:
        found = self.strings(name, sigil="@")
        return None if found is None else tuple(map(UserId, found))

    def limit(self) -> int | None:
        value = self.get("limit")
        if value is ABSENT:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise InvalidParam(f"'{self.path('limit')}' of a filter must be an integer, 0 or more")
        # The specification requires more than 0, but clients ask for 0, and Synapse returns no events then.
        return value


def _parse_event_filter(reader: _Reader) -> EventFilter:
    return EventFilter(
        limit=reader.limit(),
        types=reader.strings("types"),
        not_types=reader.strings("not_types") or (),
        senders=reader.user_ids("senders"),
        not_senders=reader.user_ids("not_senders") or (),
    )


def _parse_room_event_filter(reader: _Reader) -> EventFilter:
    common = _parse_event_filter(reader)
    return EventFilter(
        limit=common.limit,
        types=common.types,
        not_types=common.not_types,
        senders=common.senders,
        not_senders=common.not_senders,
        rooms=reader.strings("rooms", sigil="!"),
        not_rooms=reader.strings("not_rooms", sigil="!") or (),
        contains_url=reader.boolean("contains_url"),
        lazy_load_members=reader.boolean("lazy_load_members") or False,
        include_redundant_members=reader.boolean("include_redundant_members") or False,
        unread_thread_notifications=reader.boolean("unread_thread_notifications") or False,
        related_by_senders=reader.user_ids("related_by_senders"),
        related_by_rel_types=reader.strings("related_by_rel_types"),
    )


def _parse_event_fields(fields: tuple[str, ...] | None) -> tuple[tuple[str, ...], ...] | None:
    """Return the paths without those that are within another one, because that one includes them."""
    if fields is None:
        return None
    paths = {parse_path(each) for each in fields}
    return tuple(
        sorted(
            names for names in paths if not any(names[:length] in paths for length in range(1, len(names)))
        )
    )


def _parse_event_format(value: object) -> EventFormat:
    if value is ABSENT or value == "client":
        return "client"
    if value == "federation":
        return "federation"
    raise InvalidParam("'event_format' of a filter must be 'client' or 'federation'")


def _admits(value: object, wanted: tuple[str, ...] | None, unwanted: tuple[str, ...]) -> bool:
    return value not in unwanted and (wanted is None or value in wanted)


def _type_matches(pattern: str, event_type: str) -> bool:
    if "*" not in pattern:
        return pattern == event_type
    return glob(pattern, case_sensitive=True, question_mark=False).matches(event_type)


def _has_url(event: EventFields) -> bool:
    content = event.get("content")
    return isinstance(content, dict) and "url" in content
