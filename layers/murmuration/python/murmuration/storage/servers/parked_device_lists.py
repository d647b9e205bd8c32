"""Remote users' device lists that can't be fetched yet, until they are tried again (table `parked`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.clock import now_ms
from murmuration.storage import parked

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

FIRST_MS = 60_000
LONGEST_MS = 6 * 3_600_000
KEPT_MS = 7 * 24 * 3_600_000
"""For how long fetching a list is tried. After that a client's query or the next update starts again."""
_LISTS = "device-lists"


def park(user_id: UserId) -> None:
    """Record that a user's list is to be fetched later. Each time the delay doubles. One read and one
    write.
    """
    now, item = now_ms(), dynamodb.get(parked.TABLE, _key(user_id))
    attempts = item["attempts"] if item is not None else 0
    waiting = {
        **_key(user_id),
        "attempts": attempts + 1,
        "due_ms": now + min(FIRST_MS << min(attempts, 10), LONGEST_MS),
        "expires": item["expires"] if item is not None else (now + KEPT_MS) // 1000,
    }
    dynamodb.execute(dynamodb.put(parked.TABLE, waiting))


def read_due(limit: int) -> list[tuple[UserId, int]]:
    """Return the users whose lists are to be tried now, with the time at which each was due."""
    return [
        (item["sk"], item["due_ms"])
        for item in parked.read_due(_LISTS, limit)
        if item["expires"] * 1000 > now_ms()
    ]


def postpone(user_id: UserId, due_ms: int) -> bool:
    """Postpone the next attempt while a worker makes this one; False if another caller did so first."""
    write = dynamodb.update(
        parked.TABLE,
        _key(user_id),
        "SET due_ms = :next",
        values={":next": now_ms() + LONGEST_MS, ":due": due_ms},
        condition="due_ms = :due",
    )
    return dynamodb.try_execute(write)


def remove(user_id: UserId) -> None:
    """Delete the entry of a list that was fetched, or isn't needed any more."""
    dynamodb.execute(dynamodb.delete(parked.TABLE, _key(user_id)))


def _key(user_id: UserId) -> dict[str, str]:
    return {"pk": _LISTS, "sk": user_id}
