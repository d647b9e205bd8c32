"""The first read of a request about a room: the token's device, the room's head and what goes with them."""

from __future__ import annotations

from typing import Any

from murmuration.aws import dynamodb
from murmuration.identity import rate_limits
from murmuration.identity.authentication import verify
from murmuration.identity.rate_limits import Taking
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.errors import Forbidden
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from murmuration.storage.users.profiles import MEMBER_FIELDS, profile_key


def open_room(token: AccessToken, room_id: str, taking: Taking | None = None) -> tuple[Requester, Room]:
    """Verify `token` and load the room, in one read. Raises UnknownToken; Forbidden for an unknown room.

    `taking`, from a bucket of the requester's, learns how that stands.
    """
    keys: dict[str, list[dict[str, str]]] = {
        "users": [token.key],
        "rooms": [room_items.head_key(room_id)],
        **(taking.keys if taking else {}),
    }
    found = dynamodb.batch_get(keys)
    device: dict[str, Any] | None = next(iter(found["users"]), None)
    requester = verify(token, device)
    if taking is not None:
        taking.learn(next(iter(found.get(rate_limits.TABLE, ())), None))
    head = room_items.head_among(found["rooms"])
    if head is None:
        raise unknown_room(room_id)
    return requester, Room(head)


def open_room_with_profile(token: AccessToken, room_id: str) -> tuple[Requester, Room | None, dict[str, Any]]:
    """Verify `token`, load the room if it's known, and the requester's member profile, in one read."""
    found = dynamodb.batch_get(
        {"users": [token.key, profile_key(token.user_id)], "rooms": [room_items.head_key(room_id)]}
    )
    by_sk = {item["sk"]: item for item in found["users"]}
    requester = verify(token, by_sk.get(token.key["sk"]))
    head = room_items.head_among(found["rooms"])
    profile = by_sk.get("profile", {})
    room = Room(head) if head is not None else None
    return requester, room, {name: profile[name] for name in MEMBER_FIELDS if profile.get(name)}


def unknown_room(room_id: str) -> Forbidden:
    """What someone is told of a room that isn't known: the same as of one that they aren't in."""
    return Forbidden(f"You are not in room {room_id}")
