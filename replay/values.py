"""Items as JSON: bytes as `{"$bytes": <base64>}`, sets of strings as `{"$set": [...]}`."""

from __future__ import annotations

import base64
from typing import Any


def to_json(value: object) -> Any:
    """Return the JSON form of a stored value."""
    match value:
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case frozenset() | set():
            return {"$set": sorted(value)}
        case dict():
            return {name: to_json(inner) for name, inner in value.items()}
        case list() | tuple():
            return [to_json(inner) for inner in value]
        case _:
            return value


def from_json(value: object) -> Any:
    """Return the stored value from its JSON form."""
    match value:
        case {"$bytes": str(text), **rest} if not rest:
            return base64.b64decode(text)
        case {"$set": list(members), **rest} if not rest:
            return frozenset(members)
        case dict():
            return {name: from_json(inner) for name, inner in value.items()}
        case list():
            return [from_json(inner) for inner in value]
        case _:
            return value
