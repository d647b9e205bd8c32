"""Pushers whose gateway doesn't answer: since when, when to try again, and the waiting notes.

Such a pusher has one item in `transient`, and one message in the queue for its next attempt. Notes that come
meanwhile wait in the item: the newest `MOST_PENDING`. The item expires after a day; then the next event is
sent to the gateway as usual.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item
from murmuration.aws.reads import Read
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId
    from murmuration.storage.json_types import Note

TABLE = "transient"
LIFETIME_MS = 24 * 3_600_000
"""How long a failing gateway is tried again before its pushes are dropped."""
MOST_PENDING = 10


@dataclass(frozen=True, slots=True)
class Failing:
    """A pusher's failures: their number, the first one, the next attempt, the waiting notes, the revision."""

    since_ms: int
    failures: int
    retry_at_ms: int
    pending: tuple[Note, ...]
    revision: int = 0

    def with_pending(self, more: Sequence[Note]) -> Failing:
        """Return a copy with more notes, each once. Only the newest are kept."""
        known = [each for each in self.pending if each not in more]
        return replace(self, pending=tuple([*known, *more][-MOST_PENDING:]))


def failing_read(user_id: UserId, digest: str) -> Read[Failing | None]:
    """Return the read of a pusher's failures by its digest; its value is None if its gateway answered
    last.
    """
    return Read(TABLE, _key(user_id, digest), _from_item)


def store(user_id: UserId, digest: str, failing: Failing) -> bool:
    """Store changed failures. Returns False if another worker changed them meanwhile."""
    item: Item = {
        **_key(user_id, digest),
        "since_ms": failing.since_ms,
        "failures": failing.failures,
        "retry_at_ms": failing.retry_at_ms,
        "pending": json.dumps(list(failing.pending), separators=(",", ":")),
        "revision": failing.revision + 1,
        "expires": (failing.since_ms + LIFETIME_MS) // 1000,
    }
    return _succeeds(dynamodb.put(TABLE, item, **_unchanged(failing.revision)))


def clear(user_id: UserId, digest: str, revision: int) -> bool:
    """Delete failures that are over. Returns False if another worker changed them meanwhile."""
    return _succeeds(dynamodb.delete(TABLE, _key(user_id, digest), **_unchanged(revision)))


def _unchanged(revision: int) -> dict[str, Any]:
    if not revision:
        return {"condition": "attribute_not_exists(revision)"}
    return {"condition": "revision = :revision", "values": {":revision": revision}}


def _succeeds(write: dynamodb.Write) -> bool:
    return dynamodb.try_execute(write)


def _key(user_id: UserId, digest: str) -> dict[str, str]:
    return {"id": f"pusher#{digest}#{user_id}"}


def _from_item(item: Item | None) -> Failing | None:
    if item is None or int(item["expires"]) * 1000 <= now_ms():
        return None
    return Failing(
        since_ms=int(item["since_ms"]),
        failures=int(item["failures"]),
        retry_at_ms=int(item["retry_at_ms"]),
        pending=tuple(json.loads(item["pending"])),
        revision=int(item["revision"]),
    )
