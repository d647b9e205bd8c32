"""Checks the push rules that clients send: their ID, actions and conditions.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from murmuration.protocol.encoding.shapes import Body
from murmuration.protocol.errors import InvalidParam, MissingParam
from murmuration.protocol.push_rules.defaults import Action, Condition, Kind, Rule, is_default

# Actions without effect, which must be ignored wherever they appear.
_HISTORICAL_ACTIONS = ("dont_notify", "coalesce")
_LARGEST_INTEGER = 2**53 - 1

MEMBER_COUNT = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,16})", re.ASCII)


NAMED_BY_OTHERS: Final = ("room", "sender")
"""Kinds whose rules' ID is the ID of a room or user, which may contain slashes."""


def check_rule_id(kind: Kind, rule_id: str) -> None:
    """Raise InvalidParam unless a client may give this ID to a rule of this kind."""
    if not rule_id:
        raise InvalidParam("The ID of a push rule must not be empty")
    if is_default(rule_id):
        raise InvalidParam("IDs of push rules that start with '.' are the server's own")
    if kind not in NAMED_BY_OTHERS and ("/" in rule_id or "\\" in rule_id):
        raise InvalidParam("The ID of a push rule must not contain slashes or backslashes")


def parse_rule(kind: Kind, rule_id: str, body: Body) -> Rule:
    """Return the rule that `body` describes, with only its kind's properties and without `enabled`.

    Raises MissingParam or InvalidParam.
    """
    check_rule_id(kind, rule_id)
    rule: Rule = {"rule_id": rule_id, "actions": parse_actions(_required(body, "actions"))}
    if kind in ("override", "underride"):
        rule["conditions"] = _parse_conditions(body.get("conditions", []))
    elif kind == "content":
        rule["pattern"] = _string(_required(body, "pattern"), "pattern")
    return rule


def parse_actions(actions: object) -> list[Action]:
    """Return the actions without the historical ones. Raises InvalidParam."""
    if not isinstance(actions, list):
        raise InvalidParam("'actions' must be a list")
    for action in actions:
        is_tweak = isinstance(action, dict) and isinstance(action.get("set_tweak"), str)
        if not is_tweak and action not in ("notify", *_HISTORICAL_ACTIONS):
            raise InvalidParam("Each of 'actions' must be 'notify' or an object with a string 'set_tweak'")
    return [action for action in actions if action not in _HISTORICAL_ACTIONS]


def _parse_conditions(conditions: object) -> list[Condition]:
    if not isinstance(conditions, list):
        raise InvalidParam("'conditions' must be a list")
    for condition in conditions:
        if not isinstance(condition, dict):
            raise InvalidParam("Each of 'conditions' must be an object")
        kind = _string(_required(condition, "kind"), "kind")
        # An unknown kind is allowed: it makes a rule that never matches.
        for name, check in _PARAMETERS.get(kind, {}).items():
            check(_required(condition, name), name)
    return conditions


def _required(body: Body, name: str) -> object:
    if name not in body:
        raise MissingParam(f"'{name}' is missing")
    return body[name]


def _string(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidParam(f"'{name}' must be a string")
    return value


def _scalar(value: object, name: str) -> None:
    if not is_scalar(value):
        raise InvalidParam(f"'{name}' must be a string, an integer, a boolean or null")


def is_scalar(value: object) -> bool:
    """Return whether it is a scalar of canonical JSON; exact conditions compare only these."""
    if isinstance(value, int) and not isinstance(value, bool):
        return -_LARGEST_INTEGER <= value <= _LARGEST_INTEGER
    return value is None or isinstance(value, str | bool)


def _member_count(value: object, name: str) -> None:
    if not MEMBER_COUNT.fullmatch(_string(value, name)):
        raise InvalidParam(f"'{name}' must be a decimal integer, after one of ==, <, >, >=, <= or nothing")


_PARAMETERS: dict[str, dict[str, Callable[[object, str], object]]] = {
    "event_match": {"key": _string, "pattern": _string},
    "event_property_is": {"key": _string, "value": _scalar},
    "event_property_contains": {"key": _string, "value": _scalar},
    "contains_display_name": {},
    "room_member_count": {"is": _member_count},
    "sender_notification_permission": {"key": _string},
}
