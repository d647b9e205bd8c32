"""Dot-separated property paths, with which push rules and filters name a property of an event.

https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from murmuration.protocol.encoding.shapes import EventFields

ABSENT: Final = object()
"""The result of `value_at` for a property that the event doesn't have (None is JSON's null)."""

# A name may contain escaped dots and backslashes, but no bare dot. Other escapes stand for themselves.
_NAME = re.compile(r"(?:\\[.\\]|[^.])*")
_ESCAPED = re.compile(r"\\([.\\])")


@lru_cache(maxsize=1024)
def parse_path(path: str) -> tuple[str, ...]:
    r"""Return the names in `path`, in order: `content.m\.relates_to` is ("content", "m.relates_to")."""
    names: list[str] = []
    position = 0
    while True:
        found = _NAME.match(path, position)
        assert found is not None  # noqa: S101  the expression matches the empty string
        names.append(_ESCAPED.sub(r"\1", found.group()))
        position = found.end() + 1
        if position > len(path):
            return tuple(names)


def value_at(event: EventFields, names: tuple[str, ...]) -> object:
    """Return the value of the property that `names` lead to, or ABSENT."""
    value: Any = event
    for name in names:
        if not isinstance(value, dict) or name not in value:
            return ABSENT
        value = value[name]
    return value
