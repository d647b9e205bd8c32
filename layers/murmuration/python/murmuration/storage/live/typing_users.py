"""The users who type in a room: one item of the room's stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, StoredItem
from murmuration.aws.reads import Read
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.storage.live import streams

KEY = "typing"


@dataclass(frozen=True, slots=True)
class Typing:
    """The typing users of a room, each with the time when their typing ends (milliseconds), and their
    devices.
    """

    until: Mapping[str, int] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)

    def running(self, now: int) -> dict[str, int]:
        """Return the users who still type at the time `now`, each with the time when it ends."""
        return {user_id: until for user_id, until in self.until.items() if until > now}

    def as_item(self, changed_user: UserId) -> Item:
        """Return the item to store after a change of one user, without its position in the stream."""
        devices = {name: self.devices[name] for name in self.until if name in self.devices}
        return {"sk": KEY, "users": self.until, "devices": devices, "user_id": changed_user}


def from_item(item: StoredItem | None) -> Typing:
    """Return the typing users in an item; none if `item` is None."""
    return Typing(item["users"], item.get("devices", {})) if item is not None else Typing()


def _key(room_id: RoomId) -> dict[str, str]:
    return {"stream_id": streams.room_stream(room_id), "sk": KEY}


def typing_read(room_id: RoomId) -> Read[Typing]:
    """Return the read of the users who type in a room."""
    return Read(streams.TABLE, _key(room_id), from_item)


def read_rooms_with_typing(room_ids: Iterable[RoomId]) -> dict[RoomId, Typing]:
    """Return the typing users of these rooms, without rooms in which nobody ever typed.

    One round trip for a hundred rooms.
    """
    keys = [_key(room_id) for room_id in room_ids]
    items = dynamodb.batch_get({streams.TABLE: keys})[streams.TABLE] if keys else []
    return {RoomId(streams.owner_of(item)[1]): from_item(item) for item in items}


def typing_among(items: Iterable[StoredItem]) -> Typing | None:
    """Return the typing users from their item among items of a room's stream; None if it isn't there."""
    return next((from_item(item) for item in items if item["sk"] == KEY), None)
