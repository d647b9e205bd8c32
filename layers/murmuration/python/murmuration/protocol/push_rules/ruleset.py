"""A user's push rules: the server's, with the user's changes.

Only the changes are stored, so a new or improved server-default rule reaches every user. They are one JSON
object, `Changes`. Each function that changes it returns a new one and leaves its argument unchanged.

    {"own":      {kind: [{"rule_id", "enabled", "actions", "conditions" or "pattern"}, most important first]},
     "defaults": {kind: {rule_id: {"enabled"?: bool, "actions"?: [...]}}}}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypedDict

from murmuration.protocol.encoding.shapes import Body
from murmuration.protocol.errors import InvalidParam, NotFound, TooLarge, Unknown
from murmuration.protocol.push_rules.defaults import (
    KINDS,
    MASTER,
    Action,
    Kind,
    Rule,
    default_rules,
    has_default,
    is_default,
)
from murmuration.protocol.push_rules.validation import parse_actions, parse_rule

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

MAX_RULES = 1_000
"""How many rules of their own a user may have. Clients add one for each muted room."""


class RuleChange(TypedDict, total=False):
    """A user's changes to one of the server's rules."""

    enabled: bool
    actions: list[Action]


class Changes(TypedDict, total=False):
    """The stored part of a user's push rules."""

    own: dict[Kind, list[Rule]]
    defaults: dict[Kind, dict[str, RuleChange]]


Ruleset: TypeAlias = dict[Kind, list[Rule]]


def ruleset_of(user_id: UserId, changes: Changes) -> Ruleset:
    """Return all rules by kind, the most important of each kind first: the value of `global` in the API and
    in `m.push_rules`.
    """
    return {kind: rules_of_kind(user_id, changes, kind) for kind in KINDS}


def rules_of_kind(user_id: UserId, changes: Changes, kind: Kind) -> list[Rule]:
    """Return the rules of one kind, the most important first."""
    changed = changes.get("defaults", {}).get(kind, {})
    defaults: list[Rule] = [
        {**rule, **changed.get(rule["rule_id"], {})} for rule in default_rules(user_id, kind)
    ]
    own: list[Rule] = [{**rule, "default": False} for rule in _own(changes, kind)]
    before = [rule for rule in defaults if rule["rule_id"] == MASTER]
    return before + own + defaults[len(before) :]


def get_rule(user_id: UserId, changes: Changes, kind: Kind, rule_id: str) -> Rule:
    """Return one rule. Raises NotFound. The API has further endpoints for its `enabled` and `actions`."""
    for rule in rules_of_kind(user_id, changes, kind):
        if rule["rule_id"] == rule_id:
            return rule
    raise _not_found()


def put_rule(
    changes: Changes,
    kind: Kind,
    rule_id: str,
    body: Body,
    *,
    before: str | None = None,
    after: str | None = None,
) -> Changes:
    """Add a rule of the user's own (as the most important if no position is given), or replace one.

    `before` and `after` are IDs of other rules of the user's own and of this kind; `before` takes precedence.
    A replaced rule keeps its position, if none is given, and stays enabled or disabled. Raises MissingParam
    or InvalidParam for an invalid rule, Unknown for an unknown position, TooLarge if there are too many
    rules. https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
    """
    own = _own(changes, kind)
    old = next((place for place, rule in enumerate(own) if rule["rule_id"] == rule_id), None)
    enabled = True if old is None else own[old]["enabled"]
    rule: Rule = {**parse_rule(kind, rule_id, body), "enabled": enabled}
    others = [other for other in own if other["rule_id"] != rule_id]
    if old is None and sum(len(_own(changes, each)) for each in KINDS) >= MAX_RULES:
        raise TooLarge(f"A user may have {MAX_RULES} push rules")
    if before is not None:
        place = _place(others, before)
    elif after is not None:
        place = _place(others, after) + 1
    else:
        place = old or 0
    return _with_own(changes, kind, [*others[:place], rule, *others[place:]])


def delete_rule(changes: Changes, kind: Kind, rule_id: str) -> Changes:
    """Remove a rule of the user's own. Raises NotFound if there is none, InvalidParam for one of the
    server's.
    """
    if has_default(kind, rule_id):
        raise InvalidParam("The server's own push rules can be disabled, but not deleted")
    own = _own(changes, kind)
    kept = [rule for rule in own if rule["rule_id"] != rule_id]
    if len(kept) == len(own):
        raise _not_found()
    return _with_own(changes, kind, kept)


def set_enabled(changes: Changes, kind: Kind, rule_id: str, enabled: bool) -> Changes:
    """Enable or disable a rule, the user's own or the server's. Raises NotFound if there is none."""
    return _with_property(changes, kind, rule_id, {"enabled": enabled})


def set_actions(changes: Changes, kind: Kind, rule_id: str, actions: object) -> Changes:
    """Change the actions of a rule, the user's own or the server's. Raises NotFound if there is none.

    Raises InvalidParam if they aren't a list of actions.
    """
    parsed: list[Action] = parse_actions(actions)
    return _with_property(changes, kind, rule_id, {"actions": parsed})


def _with_property(changes: Changes, kind: Kind, rule_id: str, change: RuleChange) -> Changes:
    if is_default(rule_id):
        if not has_default(kind, rule_id):
            raise _not_found()
        defaults = changes.get("defaults", {})
        of_kind = defaults.get(kind, {})
        changed: dict[str, RuleChange] = {**of_kind, rule_id: {**of_kind.get(rule_id, {}), **change}}
        return {**changes, "defaults": {**defaults, kind: changed}}
    own = _own(changes, kind)
    if all(rule["rule_id"] != rule_id for rule in own):
        raise _not_found()
    return _with_own(
        changes, kind, [{**rule, **change} if rule["rule_id"] == rule_id else rule for rule in own]
    )


def _own(changes: Changes, kind: Kind) -> list[Rule]:
    return changes.get("own", {}).get(kind, [])


def _with_own(changes: Changes, kind: Kind, rules: list[Rule]) -> Changes:
    return {**changes, "own": {**changes.get("own", {}), kind: rules}}


def _place(rules: list[Rule], rule_id: str) -> int:
    for place, rule in enumerate(rules):
        if rule["rule_id"] == rule_id:
            return place
    raise Unknown(f"before/after rule not found: {rule_id}")


def _not_found() -> NotFound:
    return NotFound("The push rule was not found.")
