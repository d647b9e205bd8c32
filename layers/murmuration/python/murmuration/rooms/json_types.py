"""JSON objects about rooms that clients get.

They exist for the type checker: import them under TYPE_CHECKING, because making these classes takes time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from murmuration.protocol.encoding.json_types import ClientEvent
from murmuration.protocol.encoding.shapes import Content, JsonObject, StrippedState

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName


class TimelinePage(TypedDict):
    """A page of a room's timeline. `start` and `end` are positions; without `end` nothing follows."""

    start: str
    chunk: list[ClientEvent]
    end: NotRequired[str]
    state: NotRequired[list[ClientEvent]]


class EventContext(TypedDict):
    """An event, the events before and after it, and the state after the last of these events."""

    start: str
    end: str
    events_before: list[ClientEvent]
    event: ClientEvent
    events_after: list[ClientEvent]
    state: list[ClientEvent]


class RelationsPage(TypedDict):
    """A page of the events that relate to one event. `next_batch` and `prev_batch` are positions."""

    chunk: list[ClientEvent]
    next_batch: NotRequired[str]
    prev_batch: NotRequired[str]
    recursion_depth: NotRequired[int]


class ThreadsPage(TypedDict):
    """A page of the roots of a room's threads."""

    chunk: list[ClientEvent]
    next_batch: NotRequired[str]


class EventAtTime(TypedDict):
    """The event closest to a time. `origin_server_ts` is in milliseconds."""

    event_id: EventId
    origin_server_ts: int


class ListedTexts(TypedDict, total=False):
    """Texts of a room that strangers may see. A text that the room lacks is left out."""

    name: str
    topic: str
    avatar_url: str
    canonical_alias: str
    join_rule: str
    room_type: str


class RoomListing(ListedTexts):
    """A room in the form of the directory."""

    room_id: RoomId
    num_joined_members: int
    world_readable: bool
    guest_can_join: bool


class RoomSummary(RoomListing):
    """A room summary. `allowed_room_ids` are the rooms whose members may join this restricted room.

    Other servers' summaries may lack the room's version.
    """

    room_version: NotRequired[str]
    encryption: NotRequired[str]
    allowed_room_ids: NotRequired[list[RoomId]]


class SpaceRoom(RoomSummary):
    """A room within a hierarchy of spaces, with its m.space.child events."""

    children_state: Sequence[StrippedState]


class PublicRoomsPage(TypedDict):
    """A page of the directory. Other servers' pages may lack the number of rooms."""

    chunk: list[RoomListing]
    total_room_count_estimate: NotRequired[int]
    next_batch: NotRequired[str]
    prev_batch: NotRequired[str]


class AliasedRoom(TypedDict):
    """The room that an alias points to, and the servers that know it."""

    room_id: RoomId
    servers: list[ServerName]


class DelayedEventEnd(TypedDict):
    """How a delayed event ended. `finalised_ts` is in milliseconds."""

    finalised_ts: int
    event_id: NotRequired[EventId]
    error: NotRequired[JsonObject]


class ShownDelayedEvent(TypedDict):
    """A delayed event for its own user. Times are in milliseconds."""

    delay_id: str
    room_id: RoomId
    type: str
    content: Content
    delay_ms: int
    delayed_since_ts: int
    delay: int
    running_since: int
    state_key: NotRequired[str]
    finalised: NotRequired[DelayedEventEnd]


class DelayedEventsPage(TypedDict):
    """A page of a user's delayed events."""

    delayed_events: list[ShownDelayedEvent]
    next_batch: NotRequired[str]


class PowerLevelsContent(TypedDict, total=False):
    """The content of an m.room.power_levels event that this server makes."""

    users: dict[str, int]
    users_default: int
    events: dict[str, int]
    events_default: int
    state_default: int
    ban: int
    kick: int
    redact: int
    invite: int
    notifications: dict[str, int]
    historical: int
