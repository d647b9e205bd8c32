"""Push rules evaluated as the specification tells it, one after another, without any preparation."""

from __future__ import annotations

from typing import Any

from murmuration.protocol.push_rules.conditions import PushContext, compile_condition
from murmuration.protocol.push_rules.defaults import KINDS


def plain(ruleset: Any, event: Any, context: PushContext) -> tuple[str | None, list[Any]]:
    """Return the first rule whose conditions all hold, by trying one after another, and its actions."""
    for kind in KINDS:
        for rule in ruleset[kind]:
            if rule["enabled"] and all(
                compile_condition(condition)(event, context) for condition in implied(kind, rule)
            ):
                return rule["rule_id"], rule["actions"]
    return None, []


def implied(kind: str, rule: Any) -> list[Any]:
    """Return the conditions of a rule of this kind, in the words of conditions."""
    if kind == "room":
        return [{"kind": "event_property_is", "key": "room_id", "value": rule["rule_id"]}]
    if kind == "sender":
        return [{"kind": "event_property_is", "key": "sender", "value": rule["rule_id"]}]
    if kind == "content":
        return [{"kind": "event_match", "key": "content.body", "pattern": rule["pattern"]}]
    return list(rule["conditions"])
