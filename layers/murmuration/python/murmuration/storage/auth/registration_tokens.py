"""Registration tokens: items `regtoken#<token>` of the table `directory`.

`pending` maps sessions to the time at which their reservation of the token expires (seconds); `completed`
counts accounts. An expired reservation doesn't count, so abandoned registrations need no cleanup.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, Write

TABLE = "directory"
PREFIX = "regtoken#"
SORT_KEY = "token"


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """A token. `uses_allowed` None means any number, `expiry_ms` None never; `revision` counts changes."""

    token: str
    uses_allowed: int | None = None
    expiry_ms: int | None = None
    completed: int = 0
    pending: Mapping[str, int] = field(default_factory=dict)
    revision: int = 0


def token_key(token: str) -> dict[str, str]:
    return {"pk": PREFIX + token, "sk": SORT_KEY}


def read_token(token: str) -> RegistrationToken | None:
    item = dynamodb.get(TABLE, token_key(token))
    return None if item is None else _from_item(item)


def scan_tokens() -> Iterator[RegistrationToken]:
    """Return every token, in no particular order. Reads the whole table."""
    items = dynamodb.scan(
        TABLE,
        FilterExpression="begins_with(pk, :prefix)",
        ExpressionAttributeValues={":prefix": {"S": PREFIX}},
    )
    return map(_from_item, items)


def _from_item(item: Item) -> RegistrationToken:
    return RegistrationToken(
        token=item["pk"].removeprefix(PREFIX),
        uses_allowed=item.get("uses_allowed"),
        expiry_ms=item.get("expiry_ms"),
        completed=item["completed"],
        pending=json.loads(item["pending"]),
        revision=item["revision"],
    )


def token_write(token: RegistrationToken) -> Write:
    """Return a write that stores `token`. It is refused if its `revision` (0: none) has changed meanwhile."""
    item: Item = {
        **token_key(token.token),
        "completed": token.completed,
        "pending": json.dumps(dict(token.pending), separators=(",", ":")),
        "revision": token.revision + 1,
    }
    if token.uses_allowed is not None:
        item["uses_allowed"] = token.uses_allowed
    if token.expiry_ms is not None:
        item["expiry_ms"] = token.expiry_ms
    if not token.revision:
        return dynamodb.put(TABLE, item, condition="attribute_not_exists(pk)")
    return dynamodb.put(TABLE, item, condition="revision = :revision", values={":revision": token.revision})


def delete_token(token: str) -> None:
    dynamodb.execute(dynamodb.delete(TABLE, token_key(token)))
