"""Typing notifications: who is writing in a room, each until a time of their own.

One item of the room's stream tells it, and on which device each of them types. Nobody is called when a time
runs out: readers leave out what has ended. Leaving a room and logging out end it before its time. https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import Item
from murmuration.clock import now_ms
from murmuration.identity.tokens import Requester
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.opening import unknown_room
from murmuration.storage.live import streams
from murmuration.storage.users import memberships

KEY = "typing"
DEFAULT_TIMEOUT_MS = 30_000
MAX_TIMEOUT_MS = 120_000
MOST = 100
"""How many who type at once are kept of a room."""


def set_typing(
    requester: Requester, room_id: str, user_id: str, *, typing: bool, timeout_ms: int = DEFAULT_TIMEOUT_MS
) -> None:
    """Say that the requester types, for at most `timeout_ms`, or has stopped. Raises Forbidden."""
    requester.require_self(user_id)
    membership = memberships.read_membership(user_id, room_id) if fits_id(room_id) else None
    if membership is None or membership.membership != "join":
        raise unknown_room(room_id)
    _set(room_id, user_id, requester.device_id, typing=typing, timeout_ms=timeout_ms)


def set_remote_typing(room_id: str, user_id: str, *, typing: bool, timeout_ms: int) -> None:
    """Say that another server's user types, for at most `timeout_ms`, or has stopped."""
    _set(room_id, user_id, "", typing=typing, timeout_ms=timeout_ms)


def _set(room_id: str, user_id: str, device_id: str, *, typing: bool, timeout_ms: int) -> None:
    stream = streams.room_stream(room_id)

    def items() -> list[dict[str, Any]]:
        item, now = streams.get(stream, KEY), now_ms()
        before = _running(item, now)
        users = {other: until for other, until in before.items() if other != user_id}
        if typing and len(users) < MOST:
            users[user_id] = now + min(timeout_ms, MAX_TIMEOUT_MS)
        devices = {**_devices(item), user_id: device_id}
        return [{**_item(users, devices), "user_id": user_id}] if users != before else []

    streams.append(stream, items)


def end_for_leavers(entries: Iterable[Mapping[str, Any]]) -> None:
    """End the typing of users who by these new items of rooms' logs are not in the room any more."""
    left = {
        (item["room_id"], item["member"])
        for item in entries
        if item.get("member") and json.loads(item["json"])["content"].get("membership") != "join"
    }
    concurrency.parallel(*(functools.partial(_end, room_id, user_id) for room_id, user_id in sorted(left)))


def end_on_devices(user_id: str, device_ids: Collection[str]) -> None:
    """End what a user types on these devices, in all rooms."""
    rooms = [row.room_id for row in memberships.read_memberships(user_id) if row.membership == "join"]
    if not rooms:
        return
    keys = [{"stream_id": streams.room_stream(room_id), "sk": KEY} for room_id in rooms]
    now = now_ms()
    typing_in = [
        item["stream_id"].partition(":")[2]
        for item in dynamodb.batch_get({streams.TABLE: keys})[streams.TABLE]
        if _types(item, user_id, device_ids, now)
    ]
    concurrency.parallel(*(functools.partial(_end, room_id, user_id, device_ids) for room_id in typing_in))


def _end(room_id: str, user_id: str, device_ids: Collection[str] | None = None) -> None:
    """End a user's typing in a room, on these devices or on any. Reads once where they don't type."""
    stream = streams.room_stream(room_id)
    if not _types(streams.get(stream, KEY), user_id, device_ids, now_ms()):
        return

    def items() -> list[dict[str, Any]]:
        item, now = streams.get(stream, KEY), now_ms()
        if not _types(item, user_id, device_ids, now):
            return []
        users = {other: until for other, until in _running(item, now).items() if other != user_id}
        return [{**_item(users, _devices(item)), "user_id": user_id}]

    streams.append(stream, items)


def _types(
    item: Mapping[str, Any] | None, user_id: str, device_ids: Collection[str] | None, now: int
) -> bool:
    """Whether a user types, on one of these devices, or on any; an unknown device may be each of them."""
    if user_id not in _running(item, now):
        return False
    device_id = _devices(item).get(user_id)
    return device_ids is None or device_id is None or device_id in device_ids


def _item(users: Mapping[str, int], devices: Mapping[str, str]) -> dict[str, Any]:
    return {"sk": KEY, "users": users, "devices": {name: devices[name] for name in users if name in devices}}


def _devices(item: Mapping[str, Any] | None) -> Mapping[str, str]:
    found: Mapping[str, str] = item.get("devices", {}) if item else {}
    return found


def is_typing(item: Mapping[str, Any], user_id: str, now: int) -> bool:
    """Whether a user types at the time `now` by the stream's item."""
    return user_id in _running(item, now)


def typing_users(item: Mapping[str, Any] | None, now: int) -> list[str]:
    """Who types at the time `now` (milliseconds) by the stream's item, sorted."""
    return sorted(_running(item, now))


def typing_event(items: Iterable[Item], now: int) -> tuple[dict[str, Any] | None, int]:
    """The m.typing event for the typing item among changed items of a room's stream, None without one.

    With it the time, in milliseconds, at which the first of those who type stops by itself: 0 if nobody does.
    """
    item = next((item for item in items if item["sk"] == KEY), None)
    if item is None:
        return None, 0
    until = min(_running(item, now).values(), default=0)
    return {"type": "m.typing", "content": {"user_ids": typing_users(item, now)}}, until


def _running(item: Mapping[str, Any] | None, now: int) -> dict[str, int]:
    users = item["users"] if item else {}
    return {user_id: until for user_id, until in users.items() if until > now}
