"""Digests of the rules by which unread events were counted. A token stores them, so that a change is noticed.

One digest, named GENERAL, covers everything that concerns all rooms: the user's changes to the push rules and
the users they ignore. Rules about one room have a digest for that room, so that muting one room doesn't make
the others be counted again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.push_rules.ruleset import Changes
from murmuration.storage.live.positions import room_hash

if TYPE_CHECKING:
    from murmuration.protocol.push_rules.defaults import Rule

GENERAL = ""
LENGTH = 8
Digests = dict[str, str]
"""The digest for each room, by room hash; under GENERAL the digest for all rooms."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """The rooms whose unread events were counted by other rules: all rooms, or those with these hashes."""

    every_room: bool = False
    rooms: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        return self.every_room or name in self.rooms


def digests_of(user_id: UserId, changes: Changes, ignored: Iterable[str]) -> Digests:
    """Return the digests of a user's changed push rules and ignored users."""
    own = changes.get("own", {})
    general: list[object] = [changes.get("defaults", {}), sorted(ignored)]
    by_room: dict[str, list[object]] = {}
    for kind, rules in sorted(own.items()):
        place = 0
        for rule in rules:
            room_id = _room_of(kind, rule)
            if room_id is None:
                general.append([kind, rule])
                place += 1
            else:
                by_room.setdefault(room_id, []).append([kind, place, rule])
    digests = {room_hash(user_id, RoomId(room_id)): _digest(rules) for room_id, rules in by_room.items()}
    return {GENERAL: _digest(general), **digests}


def outdated(before: Digests | None, now: Digests) -> Outdated:
    """Return the rooms to count again; none if it isn't known by which rules they were counted."""
    if before is None:
        return Outdated()
    if before.get(GENERAL) != now.get(GENERAL):
        return Outdated(every_room=True)
    names: Collection[str] = before.keys() | now.keys()
    return Outdated(rooms=frozenset(name for name in names if before.get(name) != now.get(name)))


def _room_of(kind: str, rule: Rule) -> str | None:
    """Return the only room in which a rule can match; None if it may match in several."""
    if kind == "room":
        return str(rule["rule_id"])
    for condition in rule.get("conditions", ()):
        pattern = condition.get("pattern", condition.get("value"))
        if condition.get("key") != "room_id" or not isinstance(pattern, str):
            continue
        is_literal = not set(pattern) & set("*?")
        if condition["kind"] == "event_property_is" or (condition["kind"] == "event_match" and is_literal):
            return pattern
    return None


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]
