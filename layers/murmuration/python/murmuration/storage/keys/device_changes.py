"""The changes of a local user's devices and cross-signing keys, in order, for other servers (table `keys`).

    changes              how many changes there were (`number`), the last one of a device (`stream_id`)
    change#<number>      what changed: a device (`device_id`, `prev`), or the cross-signing keys

A change of a device has its number as stream ID, and `prev` is the stream ID of the one before. The log has
only the newest changes: a server that missed older ones requests all devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, Write
from murmuration.aws.reads import Read, fetch

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import DeviceId, UserId

TABLE = "keys"
HEAD, CHANGE = "changes", "change#"
KEPT = 100
"""How many changes of a user are kept."""
AT_ONCE = 30
"""How many changes fit into one transaction together with others."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest change in a user's log, and the newest change of a device; 0 if there is none."""

    number: int = 0
    stream_id: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a device that follows the one at `prev`; `device_id` is None for the cross-signing keys."""

    number: int
    device_id: DeviceId | None
    prev: int = 0


def _key(user_id: UserId, sk: str = HEAD) -> dict[str, str]:
    return {"user_id": user_id, "sk": sk}


def _change_sk(number: int) -> str:
    return f"{CHANGE}{number:012d}"


def head_read(user_id: UserId) -> Read[Head]:
    """Return the read of the numbers of a user's newest changes."""
    return Read(TABLE, _key(user_id), _parse_head)


def _parse_head(item: Item | None) -> Head:
    return Head(item["number"], item["stream_id"]) if item is not None else Head()


def read_head(user_id: UserId) -> Head:
    """Return the numbers of a user's newest changes."""
    return fetch(head_read(user_id))


def read(user_id: UserId, first: int, last: int | None = None) -> list[Change]:
    """Return the changes from one number to another, or to the end, in order, as far as they are kept."""
    items = dynamodb.query(
        TABLE,
        "user_id = :user AND sk BETWEEN :first AND :last",
        {
            ":user": user_id,
            ":first": _change_sk(max(first, 0)),
            ":last": _change_sk(last) if last is not None else f"{CHANGE}~",
        },
    )
    return [Change(item["number"], item.get("device_id"), item.get("prev", 0)) for item in items]


def append_writes(user_id: UserId, head: Head, changed: Sequence[str | None]) -> list[Write]:
    """Return writes that add changes (device IDs, None for the cross-signing keys) to the log after `head`.

    The first write is the head's, and is named `changes`.
    """
    number, stream_id = head.number, head.stream_id
    writes: list[Write] = []
    for device_id in changed:
        number += 1
        item: Item = {**_key(user_id, _change_sk(number)), "number": number}
        if device_id is not None:
            item |= {"device_id": device_id, "prev": stream_id}
            stream_id = number
        writes.append(dynamodb.put(TABLE, item))
        if number > KEPT:
            writes.append(dynamodb.delete(TABLE, _key(user_id, _change_sk(number - KEPT))))
    moved = dynamodb.put(
        TABLE,
        {**_key(user_id), "number": number, "stream_id": stream_id},
        condition="#number = :number" if head.number else "attribute_not_exists(user_id)",
        values={":number": head.number} if head.number else None,
        names={"#number": "number"} if head.number else None,
    )
    return [moved.named(HEAD), *writes]
