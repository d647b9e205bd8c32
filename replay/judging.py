"""Compares the outcome of a fixture's event with the expected outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from replay.backdrop import Outcome
from replay.fixtures import BadFixture, Fixture, fill
from replay.matching import differences, unmatched
from replay.worlds import World, key_names


def judge(fixture: Fixture, world: World, outcome: Outcome) -> list[str]:
    """Return a line for each difference between the outcome and the expected one. Raises BadFixture."""
    return list(_judge(fill(fixture.expected, world.names), outcome))


def _judge(expected: Mapping[str, Any], outcome: Outcome) -> Iterator[str]:
    if "answer" in expected:
        yield from differences(expected["answer"], outcome.answer, "answer")
    else:
        yield from differences(expected.get("status"), outcome.status, "status")
        yield from differences({"$subset": expected.get("headers", {})}, outcome.headers, "headers")
        yield from differences(expected.get("body"), outcome.body, "body")
    for what, actual in (("items", outcome.items), ("deleted", outcome.deleted)):
        wanted = expected.get(what, {})
        for table in sorted({*wanted, *actual}):
            yield from _items(wanted.get(table, []), actual.get(table, []), f"{what}.{table}", table)
    yield from _listed(expected.get("objects", []), outcome.objects, "objects")
    messages = expected.get("messages", {})
    for queue in sorted({*messages, *outcome.messages}):
        yield from _listed(messages.get(queue, []), outcome.messages.get(queue, []), f"messages.{queue}")
    yield from differences(expected.get("posts", {}), outcome.posts, "posts")


def _items(expected: object, actual: Sequence[Any], where: str, table: str) -> Iterator[str]:
    if isinstance(expected, dict) and expected.keys() == {"$count"}:
        if len(actual) != expected["$count"]:
            yield f"{where}: expected {expected['$count']} items, got {len(actual)}"
        return
    if not isinstance(expected, list):
        raise BadFixture(f"{where} must be a list of items or have $count alone")
    keys = key_names(table)
    by_key = {tuple(item[name] for name in keys): item for item in actual}
    vague = []
    for item in expected:
        found = by_key.get(tuple(_hashable(item.get(name)) for name in keys))
        if found is None:
            vague.append(item)  # its key isn't known in advance
        else:
            yield from differences(
                {"$subset": item}, found, f"{where}[{'|'.join(map(str, _key(keys, item)))}]"
            )
            actual = [other for other in actual if other is not found]
    yield from _listed(vague, actual, where)


def _key(keys: Sequence[str], item: Mapping[str, Any]) -> list[Any]:
    return [item[name] for name in keys]


def _hashable(value: object) -> Any:
    return value if isinstance(value, (str, int)) else None


def _listed(expected: Sequence[Any], actual: Sequence[Any], where: str) -> Iterator[str]:
    missing, surplus = unmatched([{"$subset": element} for element in expected], actual)
    for index in missing:
        yield f"{where}: nothing is like {expected[index]!r}"
    for index in surplus:
        yield f"{where}: unexpected, {actual[index]!r}"
