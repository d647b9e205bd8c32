"""The required state of a sliding sync: the state of a room that a client wants.

https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.protocol.errors import BadJson, InvalidParam
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import StateKey

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

ANY = None
MOST_ELEMENTS = 200
"""How many elements a required state may have."""

Element = tuple[str | None, str | None]
"""A type and a state key; ANY matches all."""


@dataclass(frozen=True, slots=True)
class RequiredState:
    """The state that one list or subscription wants. With `lazy`, only the members are sent that the timeline
    needs.

    With `lazy`, elements for all types or for all members don't request members: only elements that name a
    member do.
    """

    include: frozenset[Element] = frozenset()
    exclude: frozenset[Element] = frozenset()
    lazy: bool = False

    def admits(self, pair: StateKey) -> bool:
        """Return whether the state event with this type and state key is wanted, apart from lazy members."""
        event_type, state_key = pair
        if any(element in self.exclude for element in _matching(pair)):
            return False
        if self.lazy and event_type == MEMBER:
            return (MEMBER, state_key) in self.include
        return any(element in self.include for element in _matching(pair))

    def covers(self, other: RequiredState) -> bool:
        """Return whether this certainly includes everything that `other` wants."""
        if not self.exclude <= other.exclude or (other.lazy and not self.lazy and not self._has_all_members):
            return False
        if self.lazy and not other.lazy:
            return not other._may_have_members and self._includes_all(other.include)
        return self._includes_all(other.include)

    def _includes_all(self, elements: Iterable[Element]) -> bool:
        return all(
            any(each in self.include for each in ((t, k), (ANY, k), (t, ANY), (ANY, ANY)))
            for t, k in elements
        )

    @property
    def _has_all_members(self) -> bool:
        return bool({(MEMBER, ANY), (ANY, ANY)} & self.include)

    @property
    def _may_have_members(self) -> bool:
        return any(event_type in (MEMBER, ANY) for event_type, _ in self.include)

    @property
    def exact(self) -> frozenset[StateKey] | None:
        """The wanted (type, state key) pairs; None if there are elements that match more than one."""
        found = {(t, k) for t, k in self.include if t is not None and k is not None}
        return frozenset(found) if len(found) == len(self.include) else None

    @property
    def members(self) -> frozenset[str] | None:
        """The users whose membership is wanted in any case; None for all members."""
        if self.lazy:
            return frozenset(key for kind, key in self.include if kind == MEMBER and key is not None)
        if self._has_all_members:
            return None
        return frozenset(key for kind, key in self.include if kind in (MEMBER, ANY) and key is not None)


def _matching(pair: StateKey) -> tuple[Element, ...]:
    event_type, state_key = pair
    return (event_type, state_key), (event_type, ANY), (ANY, state_key), (ANY, ANY)


Required = tuple[RequiredState, ...]
"""Return what a room's lists and subscriptions require together."""


def admits(required: Required, pair: StateKey) -> bool:
    """Return whether one of them wants this state."""
    return any(each.admits(pair) for each in required)


def is_lazy(required: Required) -> bool:
    """Return whether one of them loads members lazily."""
    return any(each.lazy for each in required)


@functools.lru_cache(maxsize=256)
def covers(required: Required, others: Required) -> bool:
    """Return whether `required` includes everything that `others` want."""
    return all(any(each.covers(other) for each in required) for other in others)


def members_of(required: Required) -> frozenset[str] | None:
    """Return the users whose membership is wanted in any case; None for all members."""
    found: set[str] = set()
    for each in required:
        members = each.members
        if members is None:
            return None
        found |= members
    return frozenset(found)


@functools.lru_cache(maxsize=256)
def combine(parts: frozenset[RequiredState]) -> Required:
    """Return the parts that no other part includes, in a fixed order."""
    kept: list[RequiredState] = []
    for part in sorted(parts, key=_order):
        if not any(each.covers(part) for each in kept):
            kept = [each for each in kept if not part.covers(each)] + [part]
    return tuple(sorted(kept, key=_order))


def _order(required: RequiredState) -> str:
    return json.dumps(_as_json(required))


def _as_json(required: RequiredState) -> list[object]:
    return [_sorted(required.include), _sorted(required.exclude), required.lazy]


def _sorted(elements: Iterable[Element]) -> list[Element]:
    return sorted(
        elements, key=lambda pair: [each or "" for each in pair] + [str(each is ANY) for each in pair]
    )


def dump(required: Required) -> str:
    """Return the form for storage: the same text for the same required state."""
    return json.dumps([_as_json(each) for each in required], separators=(",", ":"))


@functools.lru_cache(maxsize=256)
def load(text: str) -> Required:
    """Return the required state that `dump` wrote."""
    return tuple(
        RequiredState(
            frozenset((kind, key) for kind, key in include),
            frozenset((kind, key) for kind, key in exclude),
            lazy,
        )
        for include, exclude, lazy in json.loads(text)
    )


# -- The form that clients send --------------------------------------------------------------------------


def parse(value: object, user_id: UserId) -> RequiredState:
    """Return a required state: a list of pairs as clients send it today, or MSC4186's object.

    In the pairs `*` stands for all types or state keys, `$ME` for the user, and `$LAZY` for lazy members.
    Raises BadJson, InvalidParam.
    """
    if isinstance(value, dict):
        lazy = value.get("lazy_members", False)
        if not isinstance(lazy, bool):
            raise BadJson("lazy_members must be true or false")
        include, exclude = (_elements(value.get(name, []), name) for name in ("include", "exclude"))
        return RequiredState(include, exclude, lazy)
    if not isinstance(value, list):
        raise BadJson("required_state must be a list of pairs, or an object")
    _limit(value)
    found: set[Element] = set()
    lazy = False
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(each, str) for each in pair):
            raise BadJson("required_state must be a list of pairs: a type and a state key")
        event_type, state_key = pair
        if state_key == "$LAZY":
            lazy = True
            continue
        key = user_id if state_key == "$ME" else state_key
        found.add((ANY if event_type == "*" else event_type, ANY if key == "*" else key))
    return RequiredState(frozenset(found), frozenset(), lazy)


def _elements(value: object, name: str) -> frozenset[Element]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise BadJson(f"{name} must be a list of objects")
    _limit(value)
    found = [(each.get("type"), each.get("state_key")) for each in value]
    if not all(each is None or isinstance(each, str) for pair in found for each in pair):
        raise BadJson(f"In {name} a type or a state_key is a string")
    return frozenset(found)


def _limit(elements: Sequence[object]) -> None:
    if len(elements) > MOST_ELEMENTS:
        raise InvalidParam(f"required_state may have {MOST_ELEMENTS} elements")
