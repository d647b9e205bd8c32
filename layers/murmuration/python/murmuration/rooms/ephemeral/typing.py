"""Typing notifications: who is writing in a room, each until a time of their own.

One item of the room's stream tells it. Nobody is called when a time runs out: who reads leaves out what has
ended. https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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


def set_typing(
    requester: Requester, room_id: str, user_id: str, *, typing: bool, timeout_ms: int = DEFAULT_TIMEOUT_MS
) -> None:
    """Say that the requester types, for at most `timeout_ms`, or has stopped. Raises Forbidden."""
    requester.require_self(user_id)
    membership = memberships.read_membership(user_id, room_id) if fits_id(room_id) else None
    if membership is None or membership.membership != "join":
        raise unknown_room(room_id)
    stream = streams.room_stream(room_id)

    def items() -> list[dict[str, Any]]:
        now = now_ms()
        before = _running(streams.get(stream, KEY), now)
        users = {other: until for other, until in before.items() if other != user_id}
        if typing:
            users[user_id] = now + min(timeout_ms, MAX_TIMEOUT_MS)
        return [{"sk": KEY, "users": users, "user_id": user_id}] if users != before else []

    streams.append(stream, items)


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
