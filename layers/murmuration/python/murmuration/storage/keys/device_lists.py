"""Who has to know that a user's devices or identity keys changed.

A change is an item `devices#<user>` in the stream of each room that the user is joined to, and in the user's
own, for their other devices. https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from murmuration.aws import concurrency
from murmuration.storage.live import streams
from murmuration.storage.users import memberships

PREFIX = "devices#"


def record_change(user_id: str, *, quiet: bool = False) -> None:
    """Let everyone who shares a room with a local user know that their devices changed.

    A `quiet` change rings nobody but the user: others who wait learn of it with their next news. Safe to
    repeat, and to be repeated after it stopped halfway.
    """
    joined = [
        membership.room_id
        for membership in memberships.read_memberships(user_id)
        if membership.membership == "join"
    ]
    rooms = map(streams.room_stream, joined)
    concurrency.parallel(
        functools.partial(_append, streams.user_stream(user_id), user_id),
        *(functools.partial(_append, room, user_id, quiet=quiet) for room in rooms),
    )


def record_private_change(observer: str, user_id: str) -> None:
    """Let only `observer`'s devices know that what they see of `user_id`'s keys changed."""
    _append(streams.user_stream(observer), user_id)


def _append(stream: str, user_id: str, *, quiet: bool = False) -> None:
    item: dict[str, Any] = {"sk": PREFIX + user_id, "user_id": user_id}
    streams.append(stream, lambda: [{**item, "quiet": True} if quiet else item])


def users_in(items: Iterable[Mapping[str, Any]]) -> set[str]:
    """The users whose devices changed, according to items of a room's or user's stream."""
    return {str(item["user_id"]) for item in items if item["sk"].startswith(PREFIX)}
