"""The first read of a request about a room: the token's device and the room's head in one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.aws.reads import Batch
from murmuration.identity.authentication import verify
from murmuration.identity.rate_limits import Taking
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.errors import Forbidden
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from murmuration.storage.users import accounts, profiles

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId


def open_room(token: AccessToken, room_id: RoomId, taking: Taking | None = None) -> tuple[Requester, Room]:
    """Verify `token` and load the room in one read. Raises UnknownToken; Forbidden for an unknown room.

    `taking` is a request to one of the requester's buckets; it learns the bucket's state from the same read.
    """
    batch = Batch()
    device = batch.add(accounts.device_read(token.key))
    head = batch.add(room_items.head_read(room_id))
    if taking is not None and taking.read is not None:
        batch.add(taking.read)
    batch.fetch()
    requester = verify(token, device.value)
    if head.value is None:
        raise unknown_room(room_id)
    return requester, Room(head.value)


def open_room_with_profile(
    token: AccessToken, room_id: RoomId
) -> tuple[Requester, Room | None, dict[str, str]]:
    """Verify `token`, and load the room and the requester's member profile in one read.

    The room is None if it isn't known. Raises UnknownToken.
    """
    batch = Batch()
    device = batch.add(accounts.device_read(token.key))
    head = batch.add(room_items.head_read(room_id))
    profile = batch.add(profiles.member_fields_read(token.user_id))
    batch.fetch()
    requester = verify(token, device.value)
    room = Room(head.value) if head.value is not None else None
    return requester, room, {name: value for name, value in profile.value.items() if value}


def unknown_room(room_id: RoomId) -> Forbidden:
    """Return the error for a room that isn't known: the same as for a room that the user isn't in."""
    return Forbidden(f"You are not in room {room_id}")
