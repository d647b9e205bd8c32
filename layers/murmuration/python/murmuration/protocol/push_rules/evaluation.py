"""Evaluate a user's rules for an event: does it notify, and how.

https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from murmuration.protocol.push_rules.conditions import Event, Matcher, PushContext, compile_rule
from murmuration.protocol.push_rules.defaults import KINDS, Action, Kind, Rule


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of an event for one user.

    `actions` are those of the rule that matched, as `/notifications` shows them. `tweaks` are what a push
    gateway is told; `highlight` and `sound` are two of them. Without `notify` the others have no effect.
    """

    rule_id: str | None = None
    actions: list[Action] = field(default_factory=list)
    notify: bool = False
    tweaks: dict[str, object] = field(default_factory=dict)

    @property
    def highlight(self) -> bool:
        return self.notify and self.tweaks.get("highlight", False) is True

    @property
    def sound(self) -> str | None:
        sound = self.tweaks.get("sound")
        return sound if self.notify and isinstance(sound, str) else None


@dataclass(frozen=True, slots=True)
class _CompiledRule:
    conditions: list[Matcher]
    outcome: Outcome


CompiledRuleset: TypeAlias = Sequence[_CompiledRule]

_NO_RULE: Final = Outcome()


def compile_ruleset(ruleset: Mapping[Kind, list[Rule]]) -> CompiledRuleset:
    """A user's rules, as `ruleset_of` gives them, in the form in which `evaluate` takes them."""
    return [
        _CompiledRule(compile_rule(kind, rule), _outcome(rule))
        for kind in KINDS
        for rule in ruleset.get(kind, [])
        if rule["enabled"]
    ]


def evaluate(rules: CompiledRuleset, event: Event, context: PushContext) -> Outcome:
    """What the first rule that matches makes of `event`, in the format of the client-server API.

    Nobody is notified of events of their own.
    """
    if event.get("sender") == context.user_id:
        return _NO_RULE
    for rule in rules:
        if all(matches(event, context) for matches in rule.conditions):
            return rule.outcome
    return _NO_RULE


def _outcome(rule: Rule) -> Outcome:
    actions: list[Action] = rule["actions"]
    tweaks: dict[str, object] = {}
    for action in actions:
        if isinstance(action, dict):
            tweak = action["set_tweak"]
            if "value" in action:
                tweaks[tweak] = action["value"]
            elif tweak == "highlight":
                tweaks[tweak] = True
    return Outcome(rule["rule_id"], actions, "notify" in actions, tweaks)
