"""The rules about m.room.power_levels: a user can't give or take more power than they have."""

from __future__ import annotations

from collections.abc import Iterable

from murmuration.protocol.auth_rules.table import ALLOW, Facts, Refusal, Rule, RuleTable, Verdict, allow
from murmuration.protocol.event_types import POWER_LEVELS
from murmuration.protocol.identifiers import is_valid_user_id
from murmuration.protocol.power_levels import DEFAULT_LEVELS


def check_power_levels(facts: Facts) -> Verdict:
    """If type is m.room.power_levels: the nested rules, which decide."""
    return _POWER_LEVELS_RULES(facts) if facts.event.type == POWER_LEVELS else None


# --- The content is well-formed


def _properties_are_integers(facts: Facts) -> Verdict:
    return _refuse_malformed(facts, DEFAULT_LEVELS)


def _entries_are_integers(facts: Facts) -> Verdict:
    return _refuse_malformed(facts, ("events", "notifications"))


def _users_are_levels_of_user_ids(facts: Facts) -> Verdict:
    users = facts.event.content.get("users", {})
    if isinstance(users, dict) and not all(map(is_valid_user_id, users)):
        return Refusal("The keys of users are not all user IDs", malformed=True)
    return _refuse_malformed(facts, ("users",))


def _refuse_malformed(facts: Facts, names: Iterable[str]) -> Refusal | None:
    malformed = ", ".join(facts.new_levels.malformed(names))
    if not malformed:
        return None
    return Refusal(f"Not a power level, or not an object of them: {malformed}", malformed=True)


def _creators_are_not_listed(facts: Facts) -> Verdict:
    if facts.creators().isdisjoint(facts.event.content.get("users", {})):
        return None
    message = "The creators of a room have no entry among its users: their power is infinite"
    return Refusal(message, malformed=True)


# --- The sender has the power to make the change


def _first_power_levels(facts: Facts) -> Verdict:
    return None if (POWER_LEVELS, "") in facts.state else ALLOW


def _changed_properties(facts: Facts) -> Verdict:
    """Refuse changes of levels that the sender isn't powerful enough to change.

    Before room version 10 this is the first rule that checks more than `users`. A value that isn't a level in
    any accepted form can't be compared, so it is refused here. A room's first m.room.power_levels event may
    contain one, because the rule before has allowed that event.
    """
    if not facts.version.integer_power_levels and (
        refusal := _refuse_malformed(facts, (*DEFAULT_LEVELS, "events", "notifications"))
    ):
        return refusal
    old = {name: facts.power_levels.property_level(name) for name in DEFAULT_LEVELS}
    new = {name: facts.new_levels.property_level(name) for name in DEFAULT_LEVELS}
    changed = [name for name in DEFAULT_LEVELS if old[name] != new[name]]
    if exceeding := _above(facts.sender_level, ((name, old[name]) for name in changed)):
        return Refusal(f"The sender's level is below the current one of {exceeding}", (1,))
    if exceeding := _above(facts.sender_level, ((name, new[name]) for name in changed)):
        return Refusal(f"The sender's level is below the new one of {exceeding}", (2,))
    return None


def _changed_or_removed_entries(facts: Facts) -> Verdict:
    for section in _limited_sections(facts):
        old, new = _entries(facts, section)
        removed = ((name, level) for name, level in old.items() if new.get(name) != level)
        if exceeding := _above(facts.sender_level, removed):
            return Refusal(f"The sender's level is below the current one of {section} {exceeding}", (1,))
    return None


def _added_or_changed_entries(facts: Facts) -> Verdict:
    for section in _limited_sections(facts):
        if refusal := _refuse_added(facts, section):
            return refusal
    return None


def _changed_or_removed_users(facts: Facts) -> Verdict:
    old, new = _entries(facts, "users")
    sender = facts.event.sender
    for user_id, level in old.items():
        if user_id != sender and new.get(user_id) != level and level >= facts.sender_level:
            return Refusal(f"The sender's power level is not above that of {user_id}", (1,))
    return None


def _added_or_changed_users(facts: Facts) -> Verdict:
    return _refuse_added(facts, "users")


def _refuse_added(facts: Facts, section: str) -> Refusal | None:
    old, new = _entries(facts, section)
    added = ((name, level) for name, level in new.items() if old.get(name) != level)
    if exceeding := _above(facts.sender_level, added):
        return Refusal(f"The sender's level is below the new one of {section} {exceeding}", (1,))
    return None


def _above(limit: int | float, levels: Iterable[tuple[str, int | None]]) -> str | None:
    """Return the name of a level above the limit, if there is one. Missing levels don't count."""
    return next((name for name, level in levels if level is not None and level > limit), None)


def _limited_sections(facts: Facts) -> tuple[str, ...]:
    return ("events", "notifications") if facts.version.limit_notifications_power_levels else ("events",)


def _entries(facts: Facts, section: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return a section's levels as they are now, and as the event would set them."""
    return facts.power_levels.entry_levels(section), facts.new_levels.entry_levels(section)


_POWER_LEVELS_RULES = RuleTable(
    Rule(_properties_are_integers, only_in=lambda version: version.integer_power_levels),
    Rule(_entries_are_integers, only_in=lambda version: version.integer_power_levels),
    Rule(_users_are_levels_of_user_ids),
    Rule(_creators_are_not_listed, only_in=lambda version: version.privileged_creators),
    Rule(_first_power_levels),
    Rule(_changed_properties),
    Rule(_changed_or_removed_entries),
    Rule(_added_or_changed_entries),
    Rule(_changed_or_removed_users),
    Rule(_added_or_changed_users),
    Rule(allow),
)
