"""A user's push rules: the server's defaults with the user's changes. Only the changes are stored.

They are one document in the user's stream, so a sync notices changes as with other account data.
https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from murmuration.protocol.encoding.shapes import Answer, Body
from murmuration.protocol.errors import BadJson, MissingParam
from murmuration.protocol.event_types import PUSH_RULES
from murmuration.protocol.push_rules import ruleset
from murmuration.protocol.push_rules.defaults import Rule, parse_kind
from murmuration.protocol.push_rules.ruleset import Changes, Ruleset
from murmuration.storage.users import account_data as storage

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId


def ruleset_for(user_id: UserId) -> Ruleset:
    """Return all push rules of a user by kind, the most important of each kind first. One read."""
    return ruleset.ruleset_of(user_id, _changes(user_id))


def as_account_data(user_id: UserId, changes: Changes) -> dict[str, Ruleset]:
    """Return the content of `m.push_rules` account data for the stored changes."""
    return {"global": ruleset.ruleset_of(user_id, changes)}


def get_push_rules(user_id: UserId) -> Answer:
    return as_account_data(user_id, _changes(user_id))


def get_push_rule(user_id: UserId, kind: str, rule_id: str) -> Rule:
    """Return one rule. Raises NotFound, also for an unknown kind."""
    return ruleset.get_rule(user_id, _changes(user_id), parse_kind(kind), rule_id)


def get_push_rules_of_kind(user_id: UserId, kind: str) -> list[Rule]:
    """Return the rules of one kind, the most important first. Raises NotFound for an unknown kind."""
    return ruleset.rules_of_kind(user_id, _changes(user_id), parse_kind(kind))


def set_push_rule(
    user_id: UserId,
    kind: str,
    rule_id: str,
    body: Body,
    *,
    before: str | None = None,
    after: str | None = None,
) -> None:
    """Add or replace a rule of the user's own.

    Raises NotFound for an unknown kind, InvalidParam, MissingParam, Unknown.
    """
    parsed = parse_kind(kind)
    _change(
        user_id,
        lambda changes: ruleset.put_rule(changes, parsed, rule_id, body, before=before, after=after),
    )


def delete_push_rule(user_id: UserId, kind: str, rule_id: str) -> None:
    """Remove a rule of the user's own. Raises NotFound, InvalidParam for one of the server's."""
    parsed = parse_kind(kind)
    _change(user_id, lambda changes: ruleset.delete_rule(changes, parsed, rule_id))


def set_push_rule_enabled(user_id: UserId, kind: str, rule_id: str, body: Body) -> None:
    """Enable or disable a rule. Raises MissingParam, BadJson, InvalidParam, NotFound."""
    parsed, enabled = parse_kind(kind), _required(body, "enabled")
    if not isinstance(enabled, bool):
        raise BadJson("enabled must be true or false")
    _change(user_id, lambda changes: ruleset.set_enabled(changes, parsed, rule_id, enabled))


def set_push_rule_actions(user_id: UserId, kind: str, rule_id: str, body: Body) -> None:
    """Set the actions of a rule. Raises MissingParam, InvalidParam, NotFound."""
    parsed, actions = parse_kind(kind), _required(body, "actions")
    _change(user_id, lambda changes: ruleset.set_actions(changes, parsed, rule_id, actions))


def _required(body: Body, name: str) -> object:
    if name not in body:
        raise MissingParam(f"{name} is missing")
    return body[name]


def _changes(user_id: UserId) -> Changes:
    return cast("Changes", storage.read(user_id, "", PUSH_RULES) or {})


def _change(user_id: UserId, make: Callable[[Changes], Changes]) -> None:
    storage.change(user_id, "", PUSH_RULES, lambda changes: make(cast("Changes", changes or {})))
