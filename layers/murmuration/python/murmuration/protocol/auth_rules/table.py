"""The form of the rules: tables, from which the numbers on each room version's page follow.

A table lists checks in the specification's order, each with the room versions that have it. A check looks at
the facts and returns ALLOW, a Refusal, or None, which means that the next check decides. A refusal's number
is the position of its check among those of the room version, table within table: "5.3.2" is the second check
of the third check of the fifth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from murmuration.protocol.errors import Forbidden
from murmuration.protocol.event_types import CREATE, JOIN_RULES, MEMBER, POWER_LEVELS
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.power_levels import PowerLevels, creators_of
from murmuration.protocol.room_versions import RoomVersion

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId


class AuthRuleViolation(Forbidden):
    """An event that the room's authorisation rules reject.

    `rule` is the number of the rule on the specification's page of that room version: "5.3.2". `malformed`
    says that the event itself is wrong: no user could send it.
    """

    def __init__(self, rule: str, message: str, *, malformed: bool = False) -> None:
        super().__init__(f"{message} (authorisation rule {rule})")
        self.rule = rule
        self.malformed = malformed


class Refusal(NamedTuple):
    """A check's answer that rejects the event: the reason, and the rule if the check contains several.

    `malformed` means that no user could send the event, whatever their power.
    """

    message: str
    path: tuple[int, ...] = ()
    malformed: bool = False

    def under(self, number: int) -> Refusal:
        """Return the same refusal with its number in the table above."""
        return self._replace(path=(number, *self.path))

    def violation(self) -> AuthRuleViolation:
        return AuthRuleViolation(".".join(map(str, self.path)), self.message, malformed=self.malformed)


ALLOW: Final = True
Verdict: TypeAlias = Literal[True] | Refusal | None


class Facts:
    """The input of the checks: the event, and the state of the room by which it is judged."""

    __slots__ = ("_new_levels", "_power_levels", "_sender_level", "event", "state", "template", "version")

    def __init__(self, event: Event, state: Mapping[StateKey, Event], *, template: bool = False) -> None:
        self.event = event
        self.state = state
        self.template = template
        self.version = event.room_version
        self._power_levels: PowerLevels | None = None
        self._new_levels: PowerLevels | None = None
        self._sender_level: int | float | None = None

    @property
    def create(self) -> Event:
        """The room's create event; `check_auth` has ensured that there is one."""
        return self.state[(CREATE, "")]

    @property
    def power_levels(self) -> PowerLevels:
        if self._power_levels is None:
            self._power_levels = PowerLevels.from_state(
                self.create, self.state.get((POWER_LEVELS, "")), self.version
            )
        return self._power_levels

    @property
    def new_levels(self) -> PowerLevels:
        """The levels of users and actions that the event itself, an m.room.power_levels event, sets."""
        if self._new_levels is None:
            self._new_levels = PowerLevels(self.event.content, frozenset(), self.version)
        return self._new_levels

    @property
    def sender_level(self) -> int | float:
        if self._sender_level is None:
            self._sender_level = self.power_levels.user_level(self.event.sender)
        return self._sender_level

    @property
    def join_rule(self) -> str:
        """The room's join rule, "invite" if the state has none."""
        join_rules = self.state.get((JOIN_RULES, ""))
        rule = join_rules.content.get("join_rule") if join_rules else None
        return rule if isinstance(rule, str) else "invite"

    def membership(self, user_id: UserId) -> str:
        """Return the user's current membership, "leave" if the room has none for them."""
        member = self.state.get((MEMBER, user_id))
        return (member.membership if member else None) or "leave"

    def creators(self) -> frozenset[str]:
        return creators_of(self.create)


Check: TypeAlias = Callable[[Facts], Verdict]
Condition: TypeAlias = Callable[[RoomVersion], bool]


def allow(_facts: Facts) -> Verdict:
    """Return the check of the rule "Otherwise, allow"."""
    return ALLOW


def refuse(message: str) -> Check:
    """Return the check of a rule "Otherwise, reject"."""
    refusal = Refusal(message)
    return lambda _facts: refusal


class Rule(NamedTuple):
    """A check, and the room versions that have it."""

    check: Check
    only_in: Condition = lambda _version: True


class RuleTable:
    """Checks in the specification's order. Used as a check itself, it is a table nested in a rule."""

    def __init__(self, *rules: Rule) -> None:
        self._rules = rules
        self._by_version: dict[str, tuple[Check, ...]] = {}

    def checks(self, version: RoomVersion) -> tuple[Check, ...]:
        """Return the checks that the room version has. A check's rule number is its position here, counted
        from 1.
        """
        checks = self._by_version.get(version.id)
        if checks is None:
            checks = tuple(rule.check for rule in self._rules if rule.only_in(version))
            self._by_version[version.id] = checks
        return checks

    def number(self, check: Check, version: RoomVersion) -> int:
        """Return the number of one check's rule in that room version."""
        return self.checks(version).index(check) + 1

    def __call__(self, facts: Facts) -> Verdict:
        for check in self.checks(facts.version):
            verdict = check(facts)
            if verdict is not None:
                return ALLOW if verdict is ALLOW else verdict.under(self.number(check, facts.version))
        return None
