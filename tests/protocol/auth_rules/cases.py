"""Cases of the rules: an event in a room, and by which rule each room version refuses it.

Rules have the numbers that the specification's pages of the room versions give them, as "versions: number".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from murmuration.protocol.auth_rules import AuthRuleViolation, check_auth
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import UserId
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.dag import (
    ADMIN,
    ALICE,
    BOB,
    DAVE,
    MOD,
    Piece,
    create,
    join_rules,
    make_event,
    member,
    power_levels,
)

ALL = "1-12"
LEVELS = {ADMIN: 100, MOD: 50}
EVENTS = {"m.room.power_levels": 50}


def versions(ranges: str) -> list[str]:
    """Return the versions of a text such as "1-3 7"."""
    found: list[str] = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        found += map(str, range(int(first), int(last or first) + 1))
    return found


def numbers(rules: str) -> dict[str, str]:
    """Return a map from version to rule, from a text such as "1-5: 5.1, 6-12: 4.1"."""
    ranges = (entry.split(": ") for entry in rules.split(", "))
    return {version: rule for which, rule in ranges for version in versions(which)}


@dataclass(frozen=True)
class Case:
    """An event in a room; `rules` says by which rule each version refuses it, nothing if they allow it."""

    name: str
    sender: UserId
    piece: Piece
    rules: str = ""
    only: str = ALL
    state: Sequence[Piece | tuple[str, Piece]] = ()
    prev: Sequence[str] = ("last",)
    create: dict[str, Any] = field(default_factory=dict)
    template: bool = False
    without: Sequence[StateKey] = ()

    def each(self) -> Iterator[Any]:
        refused = numbers(self.rules) if self.rules else {}
        for version in refused or versions(self.only):
            yield pytest.param(self, version, refused.get(version), id=f"{version}-{self.name}")


def room(version: RoomVersion, changes: Sequence[Piece | tuple[str, Piece]], **create_content: Any):
    """Return a room with an invite rule: alice created it, admin has 100, mod 50, bob and dave (another
    server) 0.

    Changes replace its state. Those without a sender are sent by alice.
    """
    pieces: list[Piece | tuple[str, Piece]] = [
        create(version, **create_content),
        *(member(user_id, "join") for user_id in (ALICE, ADMIN, MOD, BOB, DAVE)),
        power_levels(LEVELS, events=EVENTS),
        join_rules("invite"),
        *changes,
    ]
    state: dict[StateKey, Event] = {}
    for number, entry in enumerate(pieces):
        sender, piece = (ALICE, entry) if isinstance(entry, Piece) else entry
        name = "create" if number == 0 else f"state{number}"
        event = make_event(version, name, UserId(sender), piece, prev=() if number == 0 else ("create",))
        state[piece.type, piece.state_key or ""] = event
    return state


def with_extra(piece: Piece, **extra: Any) -> Piece:
    return piece._replace(extra={**piece.extra, **extra})


def each(*cases: Case) -> pytest.MarkDecorator:
    """Parametrise a test with the cases, each in every room version that it is about."""
    return pytest.mark.parametrize(("case", "version", "rule"), [it for case in cases for it in case.each()])


def judge(case: Case, version: str, rule: str | None) -> None:
    """Assert that the version allows the case's event, or refuses it by that rule."""
    room_version = ROOM_VERSIONS[version]
    event = make_event(room_version, "event", case.sender, case.piece, prev=case.prev)
    before = room(room_version, case.state, **case.create)
    for key in case.without:
        del before[key]
    if rule is None:
        check_auth(event, before, template=case.template)
        return
    with pytest.raises(AuthRuleViolation) as refused:
        check_auth(event, before, template=case.template)
    assert refused.value.rule == rule
