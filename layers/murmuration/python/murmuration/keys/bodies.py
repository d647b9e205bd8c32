"""Checks that the bodies of requests about keys share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from murmuration.protocol import canonical_json
from murmuration.protocol.errors import BadJson, MissingParam, TooLarge


def required(body: Mapping[str, Any], name: str) -> Any:
    """A property that has to be there. Raises MissingParam."""
    if name not in body:
        raise MissingParam(f"{name} is missing")
    return body[name]


def object_of(value: object, name: str) -> dict[str, Any]:
    """`value`, if it's an object. Raises BadJson."""
    if not isinstance(value, dict):
        raise BadJson(f"{name} must be an object")
    return value


def strings_of(value: object, name: str) -> list[str]:
    """`value`, if it's a list of strings. Raises BadJson."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadJson(f"{name} must be a list of strings")
    return value


def limit_size(value: object, name: str, limit: int) -> None:
    """Raises TooLarge where `value` has more than `limit` bytes, and BadJson where it has no JSON."""
    size = len(canonical_json.encode(value, strict=False))
    if size > limit:
        raise TooLarge(f"{name} may have {limit} bytes, not {size}")
