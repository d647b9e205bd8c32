"""Which results an expectation accepts."""

from __future__ import annotations

from typing import Any

import pytest

from replay.matching import differences, unmatched


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": [1, "b", None, True]}, {"a": [1, "b", None, True]}),
        ({"$any": "string"}, "x"),
        ({"$any": "integer"}, 7),
        ({"$any": "boolean"}, False),
        ({"$any": "bytes"}, b"x"),
        ({"$match": "^a+$"}, "aaa"),
        ({"$subset": {"a": 1}}, {"a": 1, "b": 2}),
        ({"$subset": {"b": {"$absent": True}}}, {"a": 1}),
        ({"$unordered": [{"$any": "integer"}, 1]}, [1, 2]),
        ({"$json": {"a": {"$any": "string"}}}, '{"a": "x"}'),
        ({"$bytes": "YQ=="}, b"a"),
        ({"$set": ["a", "b"]}, frozenset(("b", "a"))),
    ],
)
def test_taken(expected: Any, actual: Any) -> None:
    assert list(differences(expected, actual)) == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        (1, True),
        (0, False),
        (1, "1"),
        ({"$any": "integer"}, True),
        ({"$any": "string"}, None),
        ({"$match": "^a+$"}, "ab"),
        ({"$match": "1"}, 1),
        ({"$subset": {"a": 1}}, {"b": 2}),
        ({"$subset": {"a": {"$absent": True}}}, {"a": None}),
        ({"$unordered": [1, 1]}, [1, 2]),
        ({"$unordered": [1]}, [1, 1]),
        ({"$json": {"a": 1}}, '{"a": 2}'),
        ({"$json": {"a": 1}}, "a"),
        ({"$json": {}}, {}),
        ({"$bytes": "YQ=="}, b"b"),
    ],
)
def test_not_taken(expected: Any, actual: Any) -> None:
    assert list(differences(expected, actual))


def test_each_is_paired_once_even_if_the_first_would_take_anothers() -> None:
    assert unmatched([{"$any": "integer"}, 1], [1, 2]) == ([], [])
    assert unmatched([{"$any": "integer"}, 1, 2], [1, 2]) == ([2], [])
    assert unmatched([1], [1, 2]) == ([], [1])
