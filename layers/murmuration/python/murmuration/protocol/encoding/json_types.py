"""The shapes of the specification's JSON objects whose keys are known.

They exist for the type checker: import them under TYPE_CHECKING, because making these classes takes time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Required, TypedDict, TypeVar

from murmuration.protocol.encoding.shapes import Content, JsonDict

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, UserId


class EventReference(TypedDict):
    """An event that refers to another one."""

    event_id: EventId


class References(TypedDict):
    """The events that refer to an event."""

    chunk: list[EventReference]


class ThreadSummary(TypedDict):
    """A thread, in its root event. `count` is the number of replies."""

    latest_event: ClientEvent
    count: int
    current_user_participated: bool


BundledRelations = TypedDict(
    "BundledRelations",
    {"m.replace": "ClientEvent", "m.reference": References, "m.thread": ThreadSummary},
    total=False,
)
"""The events that relate to an event, as it includes them (`m.relations`)."""

_UnsignedByName = TypedDict(
    "_UnsignedByName",
    {"m.relations": BundledRelations, "org.matrix.msc4140.delay_id": str},
    total=False,
)


class UnsignedData(_UnsignedByName, total=False):
    """The properties that a server adds to an event for one user's client. `age` is in milliseconds."""

    age: int
    membership: str
    transaction_id: str
    delay_id: str
    replaces_state: str
    prev_sender: UserId
    prev_content: Content
    redacted_because: ClientEvent


class ClientEvent(TypedDict, total=False):
    """An event in the form for clients.

    It may also be an event outside of rooms' logs, such as m.typing or account data: then it has only its
    type, its content and sometimes its sender. `origin_server_ts` is in milliseconds.
    """

    type: Required[str]
    content: Required[Content]
    event_id: EventId
    sender: UserId
    origin_server_ts: int
    state_key: str | None
    room_id: RoomId
    redacts: str
    unsigned: UnsignedData


AnyClientEvent = TypeVar("AnyClientEvent", ClientEvent, JsonDict)


class EventsSection(TypedDict):
    """A part of an answer that has only events. A list may be JSON text already (`RawJson`)."""

    events: Any
