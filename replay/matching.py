"""Compares the outcome of an event with the expected outcome.

The expected outcome is JSON, and must equal the actual one, except where it has a matcher: an object with one
of these keys.

| matcher | what it takes |
| --- | --- |
| `{"$any": "string"}` | any value of a kind: string, integer, boolean, object, array, bytes, null |
| `{"$match": "^\\\\$.{43}$"}` | a string in which the regular expression is found |
| `{"$subset": {...}}` | an object with at least these members |
| `{"$unordered": [...]}` | an array of these elements, in any order |
| `{"$json": ...}` | a string that is JSON of such a value |
| `{"$bytes": "<base64>"}` | bytes, these |
| `{"$absent": true}` | a member that isn't there |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from replay.values import from_json

KINDS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "bytes": lambda value: isinstance(value, bytes),
    "null": lambda value: value is None,
}


def differences(expected: object, actual: object, where: str = "") -> Iterator[str]:
    """Yield one line for each difference between `actual` and `expected`."""
    match expected:
        case {"$any": str(kind), **rest} if not rest:
            if not KINDS[kind](actual):
                yield f"{where}: expected any {kind}, got {_short(actual)}"
        case {"$match": str(pattern), **rest} if not rest:
            if not isinstance(actual, str) or not re.search(pattern, actual):
                yield f"{where}: expected a match of {pattern}, got {_short(actual)}"
        case {"$subset": dict(members), **rest} if not rest:
            yield from _objects(members, actual, where, whole=False)
        case {"$unordered": list(elements), **rest} if not rest:
            yield from _unordered(elements, actual, where)
        case {"$json": inner, **rest} if not rest:
            yield from _text(inner, actual, where)
        case {"$bytes": str(), **rest} | {"$set": list(), **rest} if not rest:
            if from_json(expected) != actual:
                yield f"{where}: expected {_short(expected)}, got {_short(actual)}"
        case dict():
            yield from _objects(expected, actual, where, whole=True)
        case list():
            yield from _arrays(expected, actual, where)
        case _:
            if type(expected) is not type(actual) or expected != actual:
                yield f"{where}: expected {_short(expected)}, got {_short(actual)}"


def unmatched(expected: Sequence[Any], actual: Sequence[Any]) -> tuple[list[int], list[int]]:
    """Pair the expected elements with matching actual ones. Returns the indexes of the unpaired ones, of each
    list.
    """
    partner: dict[int, int] = {}

    def place(index: int, tried: set[int]) -> bool:
        for candidate, value in enumerate(actual):
            if candidate in tried or any(differences(expected[index], value)):
                continue
            tried.add(candidate)
            if candidate not in partner or place(partner[candidate], tried):
                partner[candidate] = index
                return True
        return False

    missing = [index for index in range(len(expected)) if not place(index, set())]
    return missing, [index for index in range(len(actual)) if index not in partner]


def _objects(expected: dict[str, Any], actual: object, where: str, *, whole: bool) -> Iterator[str]:
    if not isinstance(actual, dict):
        yield f"{where}: expected an object, got {_short(actual)}"
        return
    for name, value in expected.items():
        if value == {"$absent": True}:
            if name in actual:
                yield f"{where}.{name}: unexpected, {_short(actual[name])}"
        elif name not in actual:
            yield f"{where}.{name}: missing; expected {_short(value)}"
        else:
            yield from differences(value, actual[name], f"{where}.{name}")
    if whole:
        for name in actual.keys() - expected.keys():
            yield f"{where}.{name}: unexpected, {_short(actual[name])}"


def _arrays(expected: list[Any], actual: object, where: str) -> Iterator[str]:
    if not isinstance(actual, list) or len(actual) != len(expected):
        yield f"{where}: expected an array of {len(expected)}, got {_short(actual)}"
        return
    for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
        yield from differences(one, other, f"{where}[{index}]")


def _unordered(expected: list[Any], actual: object, where: str) -> Iterator[str]:
    if not isinstance(actual, list):
        yield f"{where}: expected an array, got {_short(actual)}"
        return
    missing, surplus = unmatched(expected, actual)
    for index in missing:
        yield f"{where}: nothing is like {_short(expected[index])}"
    for index in surplus:
        yield f"{where}: unexpected, {_short(actual[index])}"


def _text(expected: object, actual: object, where: str) -> Iterator[str]:
    try:
        value = json.loads(actual if isinstance(actual, str | bytes) else "")
    except ValueError:
        yield f"{where}: expected JSON, got {_short(actual)}"
        return
    yield from differences(expected, value, f"{where}$")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:297]}..."
