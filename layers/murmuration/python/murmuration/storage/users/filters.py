"""Filters that clients uploaded: items `filter#<id>` of the table `users`, immutable."""

from __future__ import annotations

import json
from typing import Any

from murmuration.aws import dynamodb

TABLE = "users"


def _key(user_id: str, filter_id: str) -> dict[str, str]:
    return {"user_id": user_id, "sk": f"filter#{filter_id}"}


def write(user_id: str, filter_id: str, definition: str) -> None:
    """Store a filter, as JSON; again is no change."""
    dynamodb.execute(dynamodb.put(TABLE, {**_key(user_id, filter_id), "definition": definition}))


def read(user_id: str, filter_id: str) -> dict[str, Any] | None:
    item = dynamodb.get(TABLE, _key(user_id, filter_id))
    if item is None:
        return None
    definition: dict[str, Any] = json.loads(item["definition"])
    return definition
