"""Evaluates a user's rules for an event: whether it notifies, and how.

https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from murmuration.protocol.identifiers import UserId
from murmuration.protocol.push_rules.conditions import Conditions, Event, PushContext, compile_rule
from murmuration.protocol.push_rules.defaults import KINDS, Action, Kind, Rule


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a user's push rules for an event.

    `actions` are those of the rule that matched, as `/notifications` shows them. `tweaks` are sent to a push
    gateway; `highlight` and `sound` are two of them. Without `notify` the others have no effect.
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
    conditions: Conditions
    outcome: Outcome


_NO_RULE: Final = Outcome()


class CompiledRuleset:
    """A user's rules, in the form that `evaluate` needs.

    Most rules apply to one type of event. So the rules that may match a type are found once for each type.
    """

    def __init__(self, rules: Sequence[_CompiledRule]) -> None:
        self._rules = rules
        self._by_type: dict[str, list[_CompiledRule]] = {}
        self._notifying: dict[str, bool] = {}

    def of_type(self, event_type: str) -> list[_CompiledRule]:
        """Return the rules that may match events of a type, up to the first that matches all of them."""
        found = self._by_type.get(event_type)
        if found is None:
            found = self._by_type[event_type] = list(self._matching(event_type))
        return found

    def _matching(self, event_type: str) -> Iterator[_CompiledRule]:
        event = {"type": event_type}
        for rule in self._rules:
            if all(matches(event, _NOBODY) for matches in rule.conditions.of_type):
                yield rule
                if not rule.conditions.others:
                    return

    def may_notify(self, event_type: str) -> bool:
        """Return whether an event of a type may notify the user."""
        found = self._notifying.get(event_type)
        if found is None:
            found = any(rule.outcome.notify for rule in self.of_type(event_type))
            self._notifying[event_type] = found
        return found

    def may_notify_of_others(self, event_type: str, user_id: UserId) -> bool:
        """Return whether state events of a type, with another state key than `user_id`, may notify
        that user.
        """
        return any(
            rule.outcome.notify and user_id not in rule.conditions.state_keys
            for rule in self.of_type(event_type)
        )


_NOBODY: Final = PushContext(UserId(""), None, 0, 0)
"""The context for conditions that depend only on the event's type."""


def compile_ruleset(ruleset: Mapping[Kind, list[Rule]]) -> CompiledRuleset:
    """Return a user's rules (from `ruleset_of`) in the form that `evaluate` needs."""
    return CompiledRuleset(
        [
            _CompiledRule(compile_rule(kind, rule), _outcome(rule))
            for kind in KINDS
            for rule in ruleset.get(kind, [])
            if rule["enabled"]
        ]
    )


def evaluate(rules: CompiledRuleset, event: Event, context: PushContext) -> Outcome:
    """Return the outcome of the first rule that matches `event`, which has the client-server API's format.

    A user is never notified of their own events.
    """
    if event.get("sender") == context.user_id:
        return _NO_RULE
    for rule in rules.of_type(event["type"]):
        for matches in rule.conditions.others:
            if not matches(event, context):
                break
        else:
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
