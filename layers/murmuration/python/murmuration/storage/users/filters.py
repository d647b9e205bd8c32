"""Filters that clients uploaded: items `filter#<id>` of the table `users`, immutable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.protocol.errors import TooLarge
from murmuration.storage import counts

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject
    from murmuration.protocol.identifiers import UserId

TABLE = "users"
MOST = 1_000
"""How many filters a user may have; some clients create one for each room."""


def _key(user_id: UserId, filter_id: str) -> dict[str, str]:
    return {"user_id": user_id, "sk": f"filter#{filter_id}"}


def write(user_id: UserId, filter_id: str, definition: str) -> None:
    """Store a filter as JSON. Repeating it changes nothing. Raises TooLarge if there are too many filters."""
    item = {**_key(user_id, filter_id), "definition": definition}
    count = counts.count_write(TABLE, {"user_id": user_id, "sk": counts.SK}, "filters", MOST)
    put = dynamodb.put(TABLE, item, condition="attribute_not_exists(sk)")
    try:
        dynamodb.transact([put.named("filter"), count])
    except ConditionFailed as error:
        if not error.refused("filter"):
            raise TooLarge(f"A user may have {MOST} filters") from error


def read(user_id: UserId, filter_id: str) -> JsonObject | None:
    item = dynamodb.get(TABLE, _key(user_id, filter_id))
    if item is None:
        return None
    definition: JsonObject = json.loads(item["definition"])
    return definition
