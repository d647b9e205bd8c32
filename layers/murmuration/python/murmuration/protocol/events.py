"""`Event`: a PDU with its room version, read through properties. https://spec.matrix.org/v1.19/rooms/"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.event_types import CREATE, MEMBER, REDACTION
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId, server_of
from murmuration.protocol.pdus.hashing import event_id_for
from murmuration.protocol.pdus.redaction import redact
from murmuration.protocol.room_versions import RoomVersion

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content, JsonObject
    from murmuration.protocol.pdus.shapes import Pdu

StateKey = tuple[str, str]
"""A (type, state_key) pair."""


class Event:
    """An event in the federation format of its room version.

    Immutable by convention: neither the event nor its `pdu` is changed after creation, because the ID is
    computed from it. The PDU must have the version's format (`event_format.check_format`): properties read it
    unchecked, except inside `content`, which may contain anything.
    """

    __slots__ = ("_auth_events", "_event_id", "_prev_events", "pdu", "rendered", "room_version")

    def __init__(self, pdu: Pdu, room_version: RoomVersion, event_id: EventId | None = None) -> None:
        """Make an event of a PDU. A caller that knows the `event_id` passes it, so that it isn't computed."""
        self.pdu = pdu
        self.room_version = room_version
        self._event_id = event_id
        self._prev_events: tuple[EventId, ...] | None = None
        self._auth_events: tuple[EventId, ...] | None = None
        self.rendered: str | None = None
        """A cache of the event's rendered forms (`client_events`)."""

    @classmethod
    def from_json(
        cls, text: str | bytes, room_version: RoomVersion, event_id: EventId | None = None
    ) -> Event:
        """Return the event that `to_json` wrote."""
        return cls(canonical_json.loads(text), room_version, event_id)

    def to_json(self) -> str:
        """Return the PDU, `unsigned` included, as compact JSON for storage."""
        return canonical_json.encode(self.pdu, strict=False).decode()

    @property
    def event_id(self) -> EventId:
        """The PDU's own ID in room versions 1 and 2; otherwise computed once from the reference hash."""
        if self._event_id is None:
            self._event_id = event_id_for(self.pdu, self.room_version)
        return self._event_id

    @property
    def room_id(self) -> RoomId:
        """The room's ID. In room version 12 a create event has none in its PDU, so it is derived from the
        event's ID.
        """
        if self.room_version.create_event_is_room_id and self.is_create:
            return RoomId("!" + self.event_id[1:])
        return self.pdu["room_id"]

    @property
    def type(self) -> str:
        return self.pdu["type"]

    @property
    def sender(self) -> UserId:
        return self.pdu["sender"]

    @property
    def sender_server(self) -> ServerName:
        """The server name in the sender's user ID."""
        return server_of(self.sender)

    @property
    def state_key(self) -> str | None:
        return self.pdu.get("state_key")

    @property
    def member_id(self) -> UserId:
        """The user whose membership an m.room.member event sets: its state key; "" if it has none."""
        return UserId(self.pdu.get("state_key") or "")

    @property
    def is_state(self) -> bool:
        return "state_key" in self.pdu

    @property
    def is_create(self) -> bool:
        """Whether this is an m.room.create event that starts a room (state key empty)."""
        return self.pdu["type"] == CREATE and self.pdu.get("state_key") == ""

    @property
    def state_pair(self) -> StateKey | None:
        """The (type, state_key) of a state event; None for any other event."""
        state_key = self.pdu.get("state_key")
        return None if state_key is None else (self.pdu["type"], state_key)

    @property
    def content(self) -> Content:
        return self.pdu["content"]

    @property
    def membership(self) -> str | None:
        """`content.membership` of an m.room.member event, if it is a string."""
        if self.pdu["type"] != MEMBER:
            return None
        membership = self.pdu["content"].get("membership")
        return membership if isinstance(membership, str) else None

    @property
    def redacts(self) -> EventId | None:
        """The event ID that an m.room.redaction names, at the place that the room version defines."""
        if self.type != REDACTION:
            return None
        redacts: Any = (self.content if self.room_version.redacts_in_content else self.pdu).get("redacts")
        return EventId(redacts) if isinstance(redacts, str) else None

    @property
    def depth(self) -> int:
        return int(self.pdu["depth"])

    @property
    def origin_server_ts(self) -> int:
        """The event's time in milliseconds since the epoch, as the sending server claims."""
        return int(self.pdu["origin_server_ts"])

    @property
    def prev_events(self) -> tuple[EventId, ...]:
        """IDs of the events before this one, in the PDU's order."""
        if self._prev_events is None:
            self._prev_events = self._references("prev_events")
        return self._prev_events

    @property
    def auth_events(self) -> tuple[EventId, ...]:
        """IDs of the events that authorise this one, in the PDU's order, duplicates included."""
        if self._auth_events is None:
            self._auth_events = self._references("auth_events")
        return self._auth_events

    @property
    def unsigned(self) -> dict[str, Any]:
        """The properties that neither the hash nor a signature covers; empty if missing or not an object."""
        unsigned = self.pdu.get("unsigned")
        return unsigned if isinstance(unsigned, dict) else {}

    def redacted(self) -> Event:
        """Return the redacted form of the event: with the same ID, without `unsigned`."""
        return Event(cast("Pdu", redact(self.pdu, self.room_version)), self.room_version, self.event_id)

    def _references(self, key: Literal["prev_events", "auth_events"]) -> tuple[EventId, ...]:
        references = self.pdu[key]
        if self.room_version.server_assigned_event_ids:
            return tuple(event_id for event_id, _ in cast("list[tuple[EventId, JsonObject]]", references))
        return tuple(cast("list[EventId]", references))

    def __repr__(self) -> str:
        return f"Event({self.event_id!r}, {self.type!r}, {self.state_key!r}, sender={self.sender!r})"
