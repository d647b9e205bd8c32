"""Events that no server could give, and when to ask again (table `transient`).

After the first failure they aren't requested for an hour, after each further one for twice as long, up to two
days.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import Item
from murmuration.aws.reads import Read, fetch_all
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

T = TypeVar("T", bound=str)

TABLE = "transient"
FIRST_MS = 3_600_000
LONGEST_MS = 48 * 3_600_000
MOST_WRITES = 200
"""How many events one call records. Further ones will be requested again."""


def read(room_id: RoomId, event_ids: Collection[str]) -> dict[str, tuple[int, int]]:
    """Return, by event ID, the number of failures, and until when not to ask (ms)."""
    wanted = list(dict.fromkeys(event_ids))
    reads = [Read(TABLE, _key(room_id, event_id), _parse, eventual=True) for event_id in wanted]
    found = fetch_all(reads)
    return {event_id: item for event_id, item in zip(wanted, found, strict=True) if item is not None}


def askable(room_id: RoomId, event_ids: Collection[T]) -> list[T]:
    """Return which of the events may be requested now. One round trip.

    An ID may have a prefix here that says what is requested instead of the event itself.
    """
    now, known = now_ms(), read(room_id, event_ids)
    return [event_id for event_id in event_ids if event_id not in known or known[event_id][1] <= now]


def remember(room_id: RoomId, event_ids: Iterable[str]) -> None:
    """Record that requests for these events failed. Two round trips."""
    wanted = list(dict.fromkeys(event_ids))[:MOST_WRITES]
    if not wanted:
        return
    now, known = now_ms(), read(room_id, wanted)
    items = []
    for event_id in wanted:
        failures = known.get(event_id, (0, 0))[0]
        again_ms = now + min(FIRST_MS << min(failures, 10), LONGEST_MS)
        items.append(
            {
                **_key(room_id, event_id),
                "failures": failures + 1,
                "again_ms": again_ms,
                "expires": (again_ms + LONGEST_MS) // 1000,
            }
        )
    concurrency.parallel(*(functools.partial(_write, item) for item in items))


def claim_backfill(room_id: RoomId, wait_ms: int) -> bool:
    """Return whether to backfill a room now. If so, nobody else does for `wait_ms`. One write."""
    now = now_ms()
    until = now + wait_ms
    return dynamodb.try_execute(
        dynamodb.put(
            TABLE,
            {"id": f"backfill#{room_id}", "until_ms": until, "expires": until // 1000 + 60},
            condition="attribute_not_exists(until_ms) OR until_ms <= :now",
            values={":now": now},
        )
    )


def end_backfill(room_id: RoomId) -> None:
    """Allow others to backfill the room again. One write."""
    dynamodb.execute(dynamodb.delete(TABLE, {"id": f"backfill#{room_id}"}))


def _write(item: Item) -> None:
    dynamodb.execute(dynamodb.put(TABLE, item))


def _parse(item: Mapping[str, int] | None) -> tuple[int, int] | None:
    return (item["failures"], item["again_ms"]) if item is not None else None


def _key(room_id: RoomId, event_id: str) -> dict[str, str]:
    return {"id": f"unobtainable#{room_id}#{event_id}"}
