"""Records changes of a user's devices or identity keys for everyone who has to know about them.

A change is an item `devices#<user>` in the stream of each room that the user is joined to, and in the user's
own stream for their other devices. The item in the user's stream names the entries of the log of changes that
were added with it: the Streams worker sends those to other servers.
https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import ConditionFailed, Item, StoredItem, Write
from murmuration.protocol.errors import Unavailable
from murmuration.protocol.identifiers import UserId
from murmuration.storage.keys import device_changes
from murmuration.storage.live import streams
from murmuration.storage.users import memberships

PREFIX = "devices#"


def record_change(
    user_id: UserId, *, devices: Collection[str] = (), signing_keys: bool = False, quiet: bool = False
) -> None:
    """Tell everyone who shares a room with a local user that the user's devices changed.

    `devices` are the changed ones. `signing_keys` says that the cross-signing keys changed; other servers are
    told of them. A `quiet` change rings only the user: others learn of it with their next updates. If this
    stopped halfway, it must be repeated; repeating it does no harm.
    """
    rooms = map(streams.room_stream, memberships.read_joined_rooms(user_id))
    changed: list[str | None] = [*dict.fromkeys(devices), *([None] if signing_keys else [])]
    concurrency.parallel(
        functools.partial(_append_own, user_id, changed),
        *(functools.partial(_append, room, user_id, quiet=quiet) for room in rooms),
    )


def record_private_change(observer: UserId, user_id: UserId) -> None:
    """Tell only `observer`'s devices that the keys of `user_id` that they see have changed."""
    _append(streams.user_stream(observer), user_id)


def _append(stream: str, user_id: UserId, *, quiet: bool = False) -> None:
    item: Item = {"sk": PREFIX + user_id, "user_id": user_id}
    streams.append(stream, lambda: [{**item, "quiet": True} if quiet else item])


def _append_own(user_id: UserId, changed: list[str | None]) -> None:
    """Append changes to the user's own stream and, in the same transaction, to the log of changes."""
    for start in range(0, max(len(changed), 1), device_changes.AT_ONCE):
        _append_changes(user_id, changed[start : start + device_changes.AT_ONCE])


def _append_changes(user_id: UserId, changed: list[str | None]) -> None:
    head = device_changes.Head()

    def items() -> list[Item]:
        nonlocal head
        item: Item = {"sk": PREFIX + user_id, "user_id": user_id}
        if changed:
            head = device_changes.read_head(user_id)
            item["changes"] = [head.number + 1, head.number + len(changed)]
        return [item]

    def more() -> list[Write]:
        return device_changes.append_writes(user_id, head, changed) if changed else []

    for attempt in range(streams.ATTEMPTS):
        try:
            streams.append(streams.user_stream(user_id), items, more=more)
        except ConditionFailed:
            streams.pause(attempt)
            continue
        return
    raise Unavailable("The user's devices are being changed by many requests at once; try again")


def users_in(items: Iterable[StoredItem]) -> set[UserId]:
    """Return the users whose devices changed, according to items of a room's or user's stream."""
    return {item["user_id"] for item in items if item["sk"].startswith(PREFIX)}


def changes_in(item: StoredItem) -> tuple[UserId, int, int] | None:
    """Return the user of an item in a user's stream, and the first and last change that it belongs to."""
    stream, sk = str(item["stream_id"]), str(item["sk"])
    if "changes" not in item or stream.partition(":")[0] != "user" or not sk.startswith(PREFIX):
        return None
    first, last = item["changes"]
    return UserId(str(item["user_id"])), int(first), int(last)
