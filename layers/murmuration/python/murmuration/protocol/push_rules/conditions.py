"""The conditions of push rules, compiled to functions of an event and the facts about its room.

https://spec.matrix.org/v1.19/client-server-api/#conditions-1
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from murmuration.protocol.encoding.globs import contains_phrase, glob
from murmuration.protocol.encoding.property_paths import parse_path, value_at
from murmuration.protocol.encoding.shapes import EventFields
from murmuration.protocol.push_rules.defaults import Condition, Kind, Rule
from murmuration.protocol.push_rules.validation import MEMBER_COUNT, is_scalar

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId


# The power level that a sender needs for a kind of notification that the room's power levels don't name.
_DEFAULT_NOTIFICATION_LEVEL = 50


@dataclass(frozen=True, slots=True)
class PushContext:
    """The facts that the rules of one user need, in addition to the event.

    `member_count` counts joined members. `notification_levels` is `notifications` of the room's power levels.
    `sender_power_level` may be infinite. All of them belong to the room's state at the event.
    """

    user_id: UserId
    display_name: str | None
    member_count: int
    sender_power_level: float
    notification_levels: Mapping[str, int] = field(default_factory=dict)


Event: TypeAlias = EventFields
Matcher: TypeAlias = Callable[[Event, PushContext], bool]


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a rule, in two parts: those that depend only on the event's type, and all others.

    `state_keys` are the state keys with which an event can match; empty for any.
    """

    of_type: tuple[Matcher, ...] = ()
    others: tuple[Matcher, ...] = ()
    state_keys: frozenset[str] = frozenset()


def compile_rule(kind: Kind, rule: Rule) -> Conditions:
    """Return all conditions of a rule that must hold, including those that its kind implies."""
    rule_id = rule["rule_id"]
    if kind == "room":
        return Conditions(others=(lambda event, _: event.get("room_id") == rule_id,))
    if kind == "sender":
        return Conditions(others=(lambda event, _: event.get("sender") == rule_id,))
    if kind == "content":
        body: Condition = {"kind": "event_match", "key": "content.body", "pattern": rule["pattern"]}
        return Conditions(others=(_event_match(body),))
    of_type: list[Matcher] = []
    others: list[Matcher] = []
    state_keys: set[str] = set()
    for condition in rule.get("conditions", []):
        path = _path_of(condition)
        (of_type if path == ("type",) else others).append(compile_condition(condition))
        if path == ("state_key",) and (literal := _literal_of(condition)) is not None:
            state_keys.add(literal)
    return Conditions(tuple(of_type), tuple(others), frozenset(state_keys))


def _path_of(condition: Condition) -> tuple[str, ...]:
    """Return the path of the only property on which a condition depends; empty if it depends on more."""
    return parse_path(condition["key"]) if condition.get("kind") in _OF_A_PROPERTY else ()


def _literal_of(condition: Condition) -> str | None:
    """Return the only text that a condition matches, ignoring case; None if it may match several."""
    if condition["kind"] == "event_property_is":
        value = condition["value"]
        return value if isinstance(value, str) else None
    if condition["kind"] == "event_match" and not set(condition["pattern"]) & set("*?"):
        return str(condition["pattern"])
    return None


def compile_condition(condition: Condition) -> Matcher:
    """Return a function that decides whether an event meets the condition. An unknown condition matches no
    event.
    """
    compiler = _COMPILERS.get(condition.get("kind", ""))
    return compiler(condition) if compiler else _never


def _never(_event: Event, _context: PushContext) -> bool:
    return False


def _event_match(condition: Condition) -> Matcher:
    names = parse_path(condition["key"])
    pattern = glob(condition["pattern"], words=names == ("content", "body"))

    def matches(event: Event, _context: PushContext) -> bool:
        value = value_at(event, names)
        return isinstance(value, str) and pattern.matches(value)

    return matches


def _event_property_is(condition: Condition) -> Matcher:
    names, expected = parse_path(condition["key"]), condition["value"]
    return lambda event, _: _same(value_at(event, names), expected)


def _event_property_contains(condition: Condition) -> Matcher:
    names, expected = parse_path(condition["key"]), condition["value"]

    def matches(event: Event, _context: PushContext) -> bool:
        values = value_at(event, names)
        return isinstance(values, list) and any(_same(value, expected) for value in values)

    return matches


def _same(value: object, expected: object) -> bool:
    # 1 == True in Python, but not in JSON.
    return type(value) is type(expected) and value == expected and is_scalar(value)


def _contains_display_name(_condition: Condition) -> Matcher:
    names = parse_path("content.body")

    def matches(event: Event, context: PushContext) -> bool:
        body, name = value_at(event, names), context.display_name
        if not isinstance(body, str) or not name:
            return False
        return contains_phrase(body, name)

    return matches


_COMPARISONS: dict[str | None, Callable[[int, int], bool]] = {
    None: operator.eq,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def _room_member_count(condition: Condition) -> Matcher:
    found = MEMBER_COUNT.fullmatch(condition["is"])
    if found is None:
        return _never
    compare, count = _COMPARISONS[found[1]], int(found[2])
    return lambda _, context: compare(context.member_count, count)


def _sender_notification_permission(condition: Condition) -> Matcher:
    key = condition["key"]
    return lambda _, context: (
        context.sender_power_level >= context.notification_levels.get(key, _DEFAULT_NOTIFICATION_LEVEL)
    )


_OF_A_PROPERTY = ("event_match", "event_property_is", "event_property_contains")
_COMPILERS: dict[str, Callable[[Condition], Matcher]] = {
    "event_match": _event_match,
    "event_property_is": _event_property_is,
    "event_property_contains": _event_property_contains,
    "contains_display_name": _contains_display_name,
    "room_member_count": _room_member_count,
    "sender_notification_permission": _sender_notification_permission,
}
