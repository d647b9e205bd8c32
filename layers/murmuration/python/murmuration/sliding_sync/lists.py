"""The lists of rooms: their rooms, their order, and what the request wants of the visible rooms."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from murmuration.aws import concurrency
from murmuration.protocol.event_types import CREATE_KEY, ENCRYPTION_KEY, SPACE_CHILD
from murmuration.protocol.events import StateKey
from murmuration.protocol.sliding import required_state
from murmuration.protocol.sliding.requests import Filters, RoomConfig, SlidingRequest
from murmuration.protocol.sliding.required_state import Required
from murmuration.rooms.room import Room, prefetch
from murmuration.storage.live.positions import mark, room_hash
from murmuration.storage.live.sliding_positions import ConnectionState
from murmuration.storage.rooms import room_items
from murmuration.storage.users import account_data
from murmuration.storage.users.memberships import Membership

MOST_ASKED = 1_000
"""For how many rooms without a known activity time the newest event is read, to sort them."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The combined request of all matching lists and the subscription for a visible room."""

    timeline_limit: int
    required: Required
    lists: frozenset[str]
    is_subscribed: bool


@dataclass(frozen=True, slots=True)
class InSight:
    """The number of rooms in each list, and what is wanted of each visible room, the last active one
    first.
    """

    counts: dict[str, int]
    wishes: dict[str, Wish]


def is_listed(row: Membership) -> bool:
    """Return whether a room is in the user's lists: they are in it, or others removed them from it.

    A user who was banned after leaving counts as removed, even after the ban ends.
    """
    if row.membership in ("join", "invite", "knock"):
        return True
    return row.sender != row.user_id and row.previous in ("join", "leave", "ban") and not row.forgotten


def is_news(state: ConnectionState, row: Membership) -> bool:
    """Return whether the user has left a room that the client knows, and the client hasn't been told."""
    name = room_hash(row.user_id, row.room_id)
    if row.membership not in ("leave", "ban"):
        return False
    told = state.positions.others.get(name)
    return (name in state.positions.rooms or told is not None) and told != mark(row.event_id)


def in_sight(
    request: SlidingRequest,
    rows: Sequence[Membership],
    rooms: Mapping[str, Room],
    direct: Collection[str],
) -> InSight:
    """Return the rooms among these memberships that a request's lists and subscriptions make visible.

    If no list filters by type, encryption, tags or spaces, and the rooms' activity times are known, it takes
    no round trip.
    """
    listed = [row for row in rows if is_listed(row)]
    order = _by_activity(listed, rooms)
    facts = _FilterFacts(order, rooms, direct)
    counts: dict[str, int] = {}
    configs: dict[str, list[RoomConfig]] = {}
    names: dict[str, set[str]] = {}
    for name, room_list in request.lists.items():
        found = facts.rows_for(room_list.filters)
        counts[name] = len(found)
        for index, row in enumerate(found):
            if room_list.has_place(index):
                configs.setdefault(row.room_id, []).append(room_list.config)
                names.setdefault(row.room_id, set()).add(name)
    known = {row.room_id for row in rows if not row.forgotten}
    for room_id, config in request.subscriptions.items():
        if room_id in known:
            configs.setdefault(room_id, []).append(config)
    places: dict[str, int] = {row.room_id: place for place, row in enumerate(order)}
    wishes = {
        room_id: Wish(
            max(config.timeline_limit for config in configs[room_id]),
            required_state.combine(frozenset(config.required for config in configs[room_id])),
            frozenset(names.get(room_id, ())),
            room_id in request.subscriptions,
        )
        for room_id in sorted(configs, key=lambda each: places.get(each, len(places)))
    }
    return InSight(counts, wishes)


def activity_ms(row: Membership, room: Room | None) -> int:
    """Return the time of the last activity that the user may know about; 0 if unknown."""
    if row.membership == "join" and room is not None and room.head.active_ms is not None:
        return max(room.head.active_ms, row.changed_ms or 0)
    return row.changed_ms or 0


def _by_activity(rows: Sequence[Membership], rooms: Mapping[str, Room]) -> list[Membership]:
    """Return the memberships, those in the last active rooms first."""
    times = {row.room_id: activity_ms(row, rooms.get(row.room_id)) for row in rows}
    unknown = [row.room_id for row in rows if row.membership == "join" and row.room_id in rooms]
    unknown = [room_id for room_id in unknown if rooms[room_id].head.active_ms is None][:MOST_ASKED]
    calls = [functools.partial(_newest_ms, rooms[room_id]) for room_id in unknown]
    times |= dict(zip(unknown, concurrency.parallel(*calls), strict=True))
    return sorted(rows, key=lambda row: (-times[row.room_id], row.room_id))


def _newest_ms(room: Room) -> int:
    """Return the newest event's time, for rooms whose activity time isn't recorded yet."""
    entries = room_items.read_log(room.room_id, room.version, limit=1, forward=False)
    return max((entry.event.origin_server_ts for entry in entries), default=0)


@dataclass
class _FilterFacts:
    """The facts that filters need. They are read when the first filter needs them."""

    rows: Sequence[Membership]
    rooms: Mapping[str, Room]
    direct: Collection[str]
    _children: dict[str, set[str]] = field(default_factory=dict)

    def rows_for(self, filters: Filters) -> list[Membership]:
        """Return the memberships whose rooms pass the filter, in their order."""
        found = [row for row in self.rows if self._is_of_kind(filters, row)]
        if filters.is_encrypted is not None:
            found = [row for row in found if self._is_encrypted[row.room_id] == filters.is_encrypted]
        if filters.room_types is not None or filters.not_room_types:
            found = [row for row in found if self._has_type(filters, row)]
        if filters.tags is not None or filters.not_tags:
            found = [row for row in found if self._has_tag(filters, row)]
        if filters.spaces is not None:
            children = self._children_of(filters.spaces)
            found = [row for row in found if row.room_id in children]
        return found

    def _is_of_kind(self, filters: Filters, row: Membership) -> bool:
        if filters.is_invite is not None and filters.is_invite != (row.membership == "invite"):
            return False
        return filters.is_dm is None or filters.is_dm == (row.room_id in self.direct)

    def _has_type(self, filters: Filters, row: Membership) -> bool:
        room_type = self._types[row.room_id]
        if room_type in filters.not_room_types:
            return False
        return filters.room_types is None or room_type in filters.room_types

    def _has_tag(self, filters: Filters, row: Membership) -> bool:
        tags = self._tags[row.room_id]
        return not tags & set(filters.not_tags) and (filters.tags is None or bool(tags & set(filters.tags)))

    @functools.cached_property
    def _states(self) -> dict[str, dict[StateKey, Any]]:
        """The contents of the rooms' create and encryption events that the user may see."""
        joined = [self.rooms[row.room_id] for row in self.rows if self._is_inside(row)]
        prefetch(joined, [CREATE_KEY, ENCRYPTION_KEY])
        found: dict[str, dict[StateKey, Any]] = {}
        for row in self.rows:
            if self._is_inside(row):
                events = self.rooms[row.room_id].events([CREATE_KEY, ENCRYPTION_KEY])
                found[row.room_id] = {pair: event.content for pair, event in events.items()}
            else:
                found[row.room_id] = {
                    (event["type"], event.get("state_key", "")): event.get("content", {})
                    for event in row.stripped_state
                    if "type" in event
                }
        return found

    def _is_inside(self, row: Membership) -> bool:
        return row.membership == "join" and row.room_id in self.rooms

    @functools.cached_property
    def _is_encrypted(self) -> dict[str, bool]:
        return {room_id: ENCRYPTION_KEY in state for room_id, state in self._states.items()}

    @functools.cached_property
    def _types(self) -> dict[str, str | None]:
        types = {room_id: state.get(CREATE_KEY, {}).get("type") for room_id, state in self._states.items()}
        return {room_id: value if isinstance(value, str) else None for room_id, value in types.items()}

    @functools.cached_property
    def _tags(self) -> dict[str, set[str]]:
        if not self.rows:
            return {}
        return account_data.read_tags(self.rows[0].user_id, [row.room_id for row in self.rows])

    def _children_of(self, spaces: Sequence[str]) -> set[str]:
        """Return the children of these spaces that the user is in."""
        inside = {row.room_id for row in self.rows if self._is_inside(row)}
        new = [space for space in dict.fromkeys(spaces) if space in inside and space not in self._children]
        calls = [functools.partial(_read_children, self.rooms[space]) for space in new]
        self._children |= dict(zip(new, concurrency.parallel(*calls), strict=True))
        return {child for space in spaces for child in self._children.get(space, ())}


def _read_children(space: Room) -> set[str]:
    entries = room_items.read_state_of_type(space.room_id, space.version, SPACE_CHILD)
    return {entry.event.state_key or "" for entry in entries if entry.event.content.get("via")}
