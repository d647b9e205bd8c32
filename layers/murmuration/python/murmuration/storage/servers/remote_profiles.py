"""Profiles of remote users, for a short time after they were fetched (table `transient`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item
from murmuration.aws.reads import Read, fetch
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId
    from murmuration.storage.users.profiles import ProfileFields

TABLE = "transient"
KEPT_MS = 30_000
"""Long enough for a client that opens a room, and short enough for users who have just changed their name."""


def read(user_id: UserId) -> ProfileFields | None:
    """Return the recent answer of the user's server: {} for an unknown user; None if no answer is stored."""
    return fetch(Read(TABLE, _key(user_id), _parse, eventual=True))


def _parse(item: Item | None) -> ProfileFields | None:
    if item is None or item["until_ms"] <= now_ms():
        return None
    fields: ProfileFields = json.loads(item["fields"])
    return fields


def write(user_id: UserId, fields: ProfileFields) -> None:
    """Store the profile that the user's server answered."""
    until_ms = now_ms() + KEPT_MS
    item = {
        **_key(user_id),
        "fields": json.dumps(fields),
        "until_ms": until_ms,
        "expires": until_ms // 1000 + 1,
    }
    dynamodb.execute(dynamodb.put(TABLE, item))


def _key(user_id: UserId) -> dict[str, str]:
    return {"id": f"profile#{user_id}"}
