"""Typing notifications: the users who are typing in a room, and until when.

One item of the room's stream has all of them, with the device on which each user types. Nothing is written
when a time is over: readers ignore expired entries. Leaving the room and logging out end them earlier. A
repeated notification doesn't ring.
https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Literal

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import Item, StoredItem
from murmuration.aws.reads import fetch
from murmuration.clock import now_ms
from murmuration.identity.tokens import Requester
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.opening import unknown_room
from murmuration.storage.live import streams
from murmuration.storage.live.new_entries import new_entries
from murmuration.storage.live.typing_users import Typing, read_rooms_with_typing, typing_read
from murmuration.storage.users import memberships

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import DeviceId, RoomId, UserId

DEFAULT_TIMEOUT_MS = 30_000
MAX_TIMEOUT_MS = 120_000
MOST = 100
"""How many typing users of a room are stored."""


def set_typing(
    requester: Requester,
    room_id: RoomId,
    user_id: UserId,
    *,
    typing: bool,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> None:
    """Record that the requester types, for at most `timeout_ms`, or has stopped. Raises Forbidden."""
    requester.require_self(user_id)
    membership = memberships.read_membership(user_id, room_id) if fits_id(room_id) else None
    if membership is None or membership.membership != "join":
        raise unknown_room(room_id)
    _set(room_id, user_id, requester.device_id, typing=typing, timeout_ms=timeout_ms)


def set_remote_typing(room_id: RoomId, user_id: UserId, *, typing: bool, timeout_ms: int) -> None:
    """Record that a user of another server types, for at most `timeout_ms`, or has stopped."""
    _set(room_id, user_id, "", typing=typing, timeout_ms=timeout_ms)


def _set(
    room_id: RoomId, user_id: UserId, device_id: DeviceId | Literal[""], *, typing: bool, timeout_ms: int
) -> None:
    stream = streams.room_stream(room_id)

    def items() -> list[Item]:
        stored, now = fetch(typing_read(room_id)), now_ms()
        before = stored.running(now)
        users = {other: until for other, until in before.items() if other != user_id}
        if typing and len(users) < MOST:
            users[user_id] = now + min(timeout_ms, MAX_TIMEOUT_MS)
        if users == before:
            return []
        item = Typing(users, {**stored.devices, user_id: device_id}).as_item(user_id)
        # Who waits knows that they type, and looks again when their time is over.
        types_on = users.keys() == before.keys() and users[user_id] >= before[user_id]
        return [{**item, "quiet": True} if types_on else item]

    streams.append(stream, items)


def end_for_leavers(items: Iterable[StoredItem]) -> None:
    """End the typing of users who have left the room, according to new entries of room logs."""
    left = {
        (entry.room_id, entry.member)
        for entry in new_entries(items)
        if entry.member is not None and entry.new_membership != "join"
    }
    concurrency.parallel(*(functools.partial(_end, room_id, user_id) for room_id, user_id in sorted(left)))


def end_on_devices(user_id: UserId, device_ids: Collection[DeviceId]) -> None:
    """End a user's typing on these devices, in all rooms."""
    rooms = [row.room_id for row in memberships.read_memberships(user_id) if row.membership == "join"]
    if not rooms:
        return
    now = now_ms()
    typing_in = [
        room_id
        for room_id, stored in read_rooms_with_typing(rooms).items()
        if _types(stored, user_id, device_ids, now)
    ]
    concurrency.parallel(*(functools.partial(_end, room_id, user_id, device_ids) for room_id in typing_in))


def _end(room_id: RoomId, user_id: UserId, device_ids: Collection[DeviceId] | None = None) -> None:
    """End a user's typing in a room, on these devices or on any. Only reads if they aren't typing."""
    stream = streams.room_stream(room_id)
    if not _types(fetch(typing_read(room_id)), user_id, device_ids, now_ms()):
        return

    def items() -> list[Item]:
        stored, now = fetch(typing_read(room_id)), now_ms()
        if not _types(stored, user_id, device_ids, now):
            return []
        users = {other: until for other, until in stored.running(now).items() if other != user_id}
        return [Typing(users, stored.devices).as_item(user_id)]

    streams.append(stream, items)


def _types(stored: Typing, user_id: UserId, device_ids: Collection[DeviceId] | None, now: int) -> bool:
    """Return whether a user types on one of these devices, or on any. An unknown device may be any of
    them.
    """
    if user_id not in stored.running(now):
        return False
    device_id = stored.devices.get(user_id)
    return device_ids is None or device_id is None or device_id in device_ids


def typing_event(
    stored: Typing | None, now: int, *, ignored: Collection[str] = ()
) -> tuple[ClientEvent | None, int]:
    """Return the m.typing event at the time `now`, and when the first user will stop (both in milliseconds).

    `ignored` users don't count. The event is None if `stored` is None. The second value is 0 if nobody types.
    """
    if stored is None:
        return None, 0
    running = {user_id: end for user_id, end in stored.running(now).items() if user_id not in ignored}
    until = min(running.values(), default=0)
    return {"type": "m.typing", "content": {"user_ids": sorted(running)}}, until
