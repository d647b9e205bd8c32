"""Record the results of an event as the results that its fixture expects.

A case is played twice. Values that are the same both times are expected exactly. Values that differ, and the
IDs of new events and rooms, are expected by a matcher. Items of rooms are reduced to their content, since
their form is the storage's concern.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from replay.backdrop import Outcome
from replay.values import to_json
from replay.worlds import World, item_key, key_names
from tests.fixtures_cases import Case

SHAPES = {
    "event ID": r"^\$[A-Za-z0-9_-]{43}$",
    "room ID": r"^![A-Za-z0-9_-]{43}$",
    "room ID of old": r"^![A-Za-z0-9_-]+:example\.org$",
    "access token": r"^mma_[A-Za-z0-9_.-]+\.[0-9a-f]{8}$",
    "refresh token": r"^mmr_[A-Za-z0-9_.-]+\.[0-9a-f]{8}$",
    "digest": r"^[0-9a-f]{64}$",
    "parked token": r"^p_[A-Za-z0-9_.-]{60,}$",
}
_IDS = ("event ID", "room ID", "room ID of old", "digest", "parked token")
_EVENT_FIELDS = ("type", "state_key", "sender", "content", "redacts")
_KEPT = {
    "room-log": ("room_id", "ordinal", "json", "visibility", "device_id", "txn_id", "member"),
    "events": ("event_id", "room_id", "ordinal"),
    "sync-tokens": ("user_id", "device_id", "expires"),
    "rooms": ("room_id", "sk", "json", "ordinal", "joined", "invited", "seq_head", "state_version"),
}
"""What is expected of these tables' items; of others', everything."""
_SHORTEST_NAMED = 8
_WITHIN = re.compile(r"[$!][A-Za-z0-9_-]{43}|[0-9a-f]{64}")
_SEPARATED = re.compile(r".*[#$/:.]")
"""What random strings have in common on purpose ends so."""
_RANDOM = re.compile(r"[A-Za-z0-9_+/=-]{10,}")


def expectation(case: Case, world: World, clock: int, first: Outcome, second: Outcome) -> str:
    """Return the text of the case's `*.expected.json`."""
    known = frozenset(world.names.values())
    expected: dict[str, Any] = {"about": case.about, "worlds": list(case.worlds), "clock": clock}
    if case.settings:
        expected["settings"] = dict(case.settings)
    if first.status is None:
        expected["answer"] = _general(first.answer, second.answer, known)
    else:
        expected["status"] = first.status
        if headers := _headers_of_note(first.headers, second.headers, known):
            expected["headers"] = headers
        if first.body is not None:
            expected["body"] = {"$any": "bytes"} if case.vague else _general(first.body, second.body, known)
    for what in ("items", "deleted"):
        tables = {
            table: _items(table, items, getattr(second, what).get(table, []), known, world)
            for table, items in sorted(getattr(first, what).items())
        }
        if tables:
            expected[what] = tables
    if first.objects:
        expected["objects"] = _general(first.objects, second.objects, known)
        if case.vague:
            expected["objects"] = [{**found, "size": {"$any": "integer"}} for found in expected["objects"]]
    if first.posts:
        expected["posts"] = _general(first.posts, second.posts, known)
    if first.messages:
        expected["messages"] = _general(first.messages, second.messages, known)
    return _named(json.dumps(expected, indent=2, ensure_ascii=False), world.names) + "\n"


def _headers_of_note(
    first: Mapping[str, str], second: Mapping[str, str], known: frozenset[str]
) -> dict[str, Any]:
    """Return the headers that describe this answer, without CORS and the content type of JSON."""
    return {
        name: _general(value, second.get(name), known)
        for name, value in first.items()
        if not name.startswith("access-control-") and (name, value) != ("content-type", "application/json")
    }


def _items(
    table: str, first: Iterable[Any], second: Iterable[Any], known: frozenset[str], world: World
) -> Any:
    pairs = list(zip(_sorted(first), _sorted(second), strict=True))
    if table == "snapshots":
        return {"$count": len(pairs)}
    before = world.contents.get(table, {})
    return [
        _general(_reduced(table, one), _reduced(table, other), known)
        | {name: {"$absent": True} for name in _lost(table, before.get(item_key(table, one), {}), one)}
        for one, other in pairs
    ]


def _lost(table: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the attributes that an item had, and has no more."""
    return sorted(before.keys() - now.keys()) if len(now) > len(key_names(table)) else []


def _sorted(items: Iterable[Any]) -> list[Any]:
    """Return the items in an order that doesn't depend on random values."""
    return sorted(items, key=lambda item: _RANDOM.sub("*", json.dumps(to_json(item), sort_keys=True)))


def _reduced(table: str, item: dict[str, Any]) -> dict[str, Any]:
    kept = _KEPT.get(table)
    return item if kept is None else {name: item[name] for name in kept if name in item}


def _general(first: Any, second: Any, known: frozenset[str]) -> Any:
    """Return the most specific matcher that accepts both values."""
    match first, second:
        case dict(), dict() if first.keys() == second.keys():
            return {name: _general(first[name], second[name], known) for name in sorted(first)}
        case list(), list() if len(first) == len(second):
            return [_general(one, other, known) for one, other in zip(first, second, strict=True)]
        case str(), str():
            return _general_text(first, second, known)
        case bytes(), bytes():
            return to_json(first) if first == second else {"$any": "bytes"}
        case _ if first == second:
            return to_json(first)
        case int(), int():
            return {"$any": "integer"}
        case dict(), dict():
            return {"$any": "object"}
        case _:
            raise ValueError(f"no matcher takes both {first!r} and {second!r}")


def _general_text(first: str, second: str, known: frozenset[str]) -> Any:
    if first[:1] in ("{", "["):
        return _parsed(first, second, known)
    if first == second and (first in known or not _has_new_id(first, known)):
        return first
    for shape in SHAPES.values():
        if re.match(shape, first) and re.match(shape, second):
            return {"$match": shape}
    if first == second:
        return {"$match": f"^{_ids_open(first, known)}$"}
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    prefix = _SEPARATED.match("".join(one for one, _ in same))
    if prefix is not None:
        return {"$match": f"^{re.escape(prefix[0])}"}
    return {"$any": "string"}


def _has_new_id(text: str, known: frozenset[str]) -> bool:
    """Return whether `text` has an ID that no world has. Such an ID depends on how events are made."""
    return any(found not in known for found in _WITHIN.findall(text)) or any(
        re.match(SHAPES[name], text) for name in _IDS
    )


def _ids_open(text: str, known: frozenset[str]) -> str:
    """Return a regular expression for `text` with any IDs and digests in place of new ones."""
    pattern, at = "", 0
    for found in _WITHIN.finditer(text):
        if found[0] not in known:
            is_id = found[0][0] in "$!"
            pattern += re.escape(text[at : found.start()])
            pattern += re.escape(found[0][0]) + "[A-Za-z0-9_-]{43}" if is_id else "[0-9a-f]{64}"
            at = found.end()
    return pattern + re.escape(text[at:])


def _parsed(first: str, second: str, known: frozenset[str]) -> Any:
    """Return the parsed value of a JSON string; an event is reduced to what its sender wrote."""
    try:
        one, other = json.loads(first), json.loads(second)
    except ValueError:
        return first if first == second else {"$any": "string"}
    if "auth_events" in one:
        one, other = (
            {name: event[name] for name in _EVENT_FIELDS if name in event} for event in (one, other)
        )
        return {"$json": {"$subset": _general(one, other, known)}}
    return {"$json": _general(one, other, known)}


def _named(text: str, names: Mapping[str, str]) -> str:
    """Return `text` with values of the worlds replaced by their names, the longest first."""
    for name, value in sorted(names.items(), key=lambda entry: -len(entry[1])):
        if len(value) >= _SHORTEST_NAMED and not value.startswith("@"):
            text = text.replace(value, f"{{{{{name}}}}}")
    return text


def check_expectation(case: Case, outcome: Outcome) -> list[str]:
    """Return a line for each difference between an outcome and the case's expectation."""
    if outcome.status is None:
        return []
    status, _, errcode = case.expect.partition(" ")
    body: Any = outcome.body
    found = body.get("errcode", "") if isinstance(body, dict) and outcome.status >= 400 else ""
    if (str(outcome.status), found) == (status, errcode):
        return []
    return [f"{case.name}: expected {case.expect}, got {outcome.status} {body!r:.300}"]


__all__: Sequence[str] = ("check_expectation", "expectation")
