"""Malformed JSON, as no correct server sends it: each part of a value in turn is replaced or missing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any


def _deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": [value]}
    return value


ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**53, 2**63, 10**400, 1e300, "", "x", "a\x00b", "a" * 300, "@x:y", "!x:y",
    "$x", [], {}, [None], [[]], [["$a:b", {}]], {"": None}, {"a": {"b": []}}, _deep(60),
)  # fmt: skip
"""Values of all kinds: of other types, without bounds, deep. All can be signed."""
UNSIGNABLE: tuple[Any, ...] = ("\ud800", {"\ud800": 1})
"""Values that JSON can have, and UTF-8 can't: they come in answers, which nobody signs."""


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths to all parts of a value, except itself."""
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for step, child in children:
        yield (*prefix, step)
        yield from paths(child, (*prefix, step))


def spoilt(value: Any, *more: Any, most: int | None = None) -> Iterator[Any]:
    """Yield variants of the value. In each, one part is missing or is replaced by one of `ODD` or `more`.

    `most` limits the number of variants, which are then taken from all parts of the value.
    """
    changes = [(way, odd) for way in paths(value) for odd in (..., *ODD, *more)]
    step = 1 + len(changes) // most if most else 1
    for way, odd in changes[::step]:
        found = copy.deepcopy(value)
        parent = found
        for part in way[:-1]:
            parent = parent[part]
        if odd is ...:
            del parent[way[-1]]
        else:
            parent[way[-1]] = copy.deepcopy(odd)
        yield found


def renamed(value: Any, *, most: int | None = None) -> Iterator[Any]:
    """Yield variants of the value. In each, one name in its objects (it may be an ID) is one of the strings
    of `ODD`.
    """
    names = [odd for odd in ODD if isinstance(odd, str)]
    changes = [(way, name) for way in paths(value) if isinstance(way[-1], str) for name in names]
    step = 1 + len(changes) // most if most else 1
    for way, name in changes[::step]:
        found = copy.deepcopy(value)
        parent = found
        for part in way[:-1]:
            parent = parent[part]
        parent[name] = parent.pop(way[-1])
        yield found
