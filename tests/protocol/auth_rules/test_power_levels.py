"""The rules about m.room.power_levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.protocol.auth_rules.cases import EVENTS, LEVELS, Case, each, judge
from tests.protocol.dag import ADMIN, ALICE, BOB, CAROL, MOD, Piece, power_levels

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId


# mod, whose level is 50, may send power levels at all.
NOW = {"users": LEVELS, "events": EVENTS}


def changed(users: Mapping[UserId, Any] = LEVELS, events: Any = EVENTS, **content: Any) -> Piece:
    """Return the room's power levels with a change."""
    return power_levels(users, events=events, **content)


def with_level(name: str, level: int) -> Piece:
    """Return the room's power levels with one property set."""
    piece = changed()
    return piece._replace(content={**piece.content, name: level})


def malformed(name: str, content: dict[str, Any], rules: str, sender: UserId = ADMIN) -> Case:
    return Case(name, sender, Piece("m.room.power_levels", "", {**NOW, **content}), rules=rules)


NO_LEVELS: list[Any] = [[50], {}, "", "5 0", "0x32", "1_0", "5.0", True, None]
NO_ENTRIES: list[Any] = [[], 50, {"x": "high"}, {"x": None}, {"x": False}, {"x": {}}]
NO_USERS: list[Any] = [[], 50, {BOB: "high"}, {BOB: None}, {"bob": 50}, {"@bob": 50}, {BOB: True}]

FORMAT = [
    Case("unchanged", MOD, changed()),
    Case("empty", ADMIN, power_levels()),
    *(
        malformed(f"{name} is {value!r}", {name: value}, "1-5: 10.3, 6-9: 9.3, 10-11: 9.1, 12: 10.1")
        for name in ("ban", "users_default")
        for value in NO_LEVELS
    ),
    *(
        malformed(f"{section} is {value!r}", {section: value}, "1-5: 10.3, 6-9: 9.3, 10-11: 9.2, 12: 10.2")
        for section in ("events", "notifications")
        for value in NO_ENTRIES
    ),
    *(
        malformed(f"users is {value!r}", {"users": value}, "1-5: 10.1, 6-9: 9.1, 10-11: 9.3, 12: 10.3")
        for value in NO_USERS
    ),
    Case("a string", ADMIN, changed(ban="50"), only="1-9"),
    Case("a string, no more", ADMIN, changed(ban="50"), rules="10-11: 9.1, 12: 10.1"),
    Case("a string in events", ADMIN, changed(events={"x": "50"}), rules="10-11: 9.2, 12: 10.2"),
    Case("a string in users", ADMIN, changed({**LEVELS, BOB: "50"}), rules="10-11: 9.3, 12: 10.3"),
    Case(
        "spaces, signs, zeros", ADMIN, changed({**LEVELS, BOB: " +0050\t"}, ban="-5", kick="000"), only="1-9"
    ),
    Case("a string in users, once", ADMIN, changed({**LEVELS, BOB: "50"}), only="1-9"),
    Case("a float", ADMIN, changed(ban=50.5), only="1-5"),
    Case("a float, no more", ADMIN, changed(ban=50.5), rules="6-9: 9.3, 10-11: 9.1, 12: 10.1"),
    malformed("infinity", {"ban": float("inf")}, "1-5: 10.3"),
    malformed("not a number", {"ban": float("nan")}, "1-5: 10.3"),
    malformed("beyond a double", {"ban": -(10**400)}, "1-5: 10.3"),
    malformed("beyond a double, as a string", {"ban": "9" * 310}, "1-5: 10.3, 6-9: 9.3"),
    Case("a creator is listed", ALICE, changed({**LEVELS, ALICE: 100}), rules="12: 10.4"),
    Case(
        "an additional creator is listed",
        ALICE,
        changed({**LEVELS, BOB: 100}),
        rules="12: 10.4",
        create={"additional_creators": [BOB]},
    ),
    Case("it was no matter once", ADMIN, changed({**LEVELS, ALICE: 100}), only="1-11"),
]

NONE_YET = [("m.room.power_levels", "")]

FIRST = [
    Case("whatever they say", ALICE, changed(ban=2**53 - 1), without=NONE_YET),
    Case("by one without power", BOB, changed(), rules="1-5: 8, 6-11: 7, 12: 8", without=NONE_YET),
    Case("malformed", ALICE, changed(ban="high", events=[]), only="1-9", without=NONE_YET),
    Case("malformed, no more", ALICE, changed(ban="high"), rules="10-11: 9.1, 12: 10.1", without=NONE_YET),
    Case(
        "malformed for users",
        ALICE,
        changed({BOB: "high"}),
        rules="1-5: 10.1, 6-9: 9.1, 10-11: 9.3, 12: 10.3",
        without=NONE_YET,
    ),
]

PROPERTIES = [
    Case("to one's own level", MOD, changed(ban=50, kick=0, redact=-1), state=[changed(ban=49, kick=50)]),
    *(
        Case(
            f"{name} from above",
            MOD,
            with_level(name, 50),
            rules="1-5: 10.3.1, 6-9: 9.3.1, 10-11: 9.5.1, 12: 10.6.1",
            state=[with_level(name, 51)],
        )
        for name in ("ban", "redact", "kick", "invite")
    ),
    *(
        Case(
            f"{name} to above",
            MOD,
            with_level(name, 51),
            rules="1-5: 10.3.2, 6-9: 9.3.2, 10-11: 9.5.2, 12: 10.6.2",
        )
        for name in ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")
    ),
    Case(
        "removed from above",
        MOD,
        changed(),
        rules="1-5: 10.3.1, 6-9: 9.3.1, 10-11: 9.5.1, 12: 10.6.1",
        state=[changed(ban=60)],
    ),
    Case("left above", MOD, changed(ban=60), state=[changed(ban=60)]),
    Case("left above, written otherwise", MOD, changed(ban="60"), only="1-9", state=[changed(ban=60)]),
    Case("the default may be above", MOD, changed(redact=20), state=[changed()]),
    Case("a creator has no limits", ALICE, changed(ban=2**53 - 1), only="12"),
]

ENTRIES = [
    Case("an entry at one's level", MOD, changed(events={**EVENTS, "x": 50})),
    Case(
        "an entry above",
        MOD,
        changed(events={**EVENTS, "x": 51}),
        rules="1-5: 10.5.1, 6-9: 9.5.1, 10-11: 9.7.1, 12: 10.8.1",
    ),
    Case("an entry from one's level", MOD, changed(), state=[changed(events={**EVENTS, "x": 50})]),
    Case(
        "an entry removed from above",
        MOD,
        changed(),
        rules="1-5: 10.4.1, 6-9: 9.4.1, 10-11: 9.6.1, 12: 10.7.1",
        state=[changed(events={**EVENTS, "x": 51})],
    ),
    Case(
        "an entry changed from above",
        MOD,
        changed(events={**EVENTS, "x": 0}),
        rules="1-5: 10.4.1, 6-9: 9.4.1, 10-11: 9.6.1, 12: 10.7.1",
        state=[changed(events={**EVENTS, "x": 51})],
    ),
    Case(
        "an entry left above",
        MOD,
        changed(events={**EVENTS, "x": 51}, ban=40),
        state=[changed(events={**EVENTS, "x": 51})],
    ),
    Case("a notification above, once", MOD, changed(notifications={"room": 51}), only="1-5"),
    Case(
        "a notification above",
        MOD,
        changed(notifications={"room": 51}),
        rules="6-9: 9.5.1, 10-11: 9.7.1, 12: 10.8.1",
    ),
    Case("a notification at one's level", MOD, changed(notifications={"room": 50})),
    Case(
        "a notification from above",
        MOD,
        changed(notifications={"room": 50}),
        rules="6-9: 9.4.1, 10-11: 9.6.1, 12: 10.7.1",
        state=[changed(notifications={"room": 51})],
    ),
]

USERS = [
    Case("a user to one's own level", MOD, changed({**LEVELS, BOB: 50})),
    Case(
        "a user above it",
        MOD,
        changed({**LEVELS, BOB: 51}),
        rules="1-5: 10.7.1, 6-9: 9.7.1, 10-11: 9.9.1, 12: 10.10.1",
    ),
    Case("a user from below it", MOD, changed({**LEVELS, BOB: 0}), state=[changed({**LEVELS, BOB: 49})]),
    Case(
        "an equal demoted",
        MOD,
        changed({**LEVELS, BOB: 0}),
        rules="1-5: 10.6.1, 6-9: 9.6.1, 10-11: 9.8.1, 12: 10.9.1",
        state=[changed({**LEVELS, BOB: 50})],
    ),
    Case(
        "an equal removed",
        MOD,
        changed(),
        rules="1-5: 10.6.1, 6-9: 9.6.1, 10-11: 9.8.1, 12: 10.9.1",
        state=[changed({**LEVELS, BOB: 50})],
    ),
    Case("oneself demoted", MOD, changed({ADMIN: 100, MOD: 49})),
    Case("oneself removed", MOD, changed({ADMIN: 100})),
    Case(
        "oneself promoted",
        MOD,
        changed({ADMIN: 100, MOD: 51}),
        rules="1-5: 10.7.1, 6-9: 9.7.1, 10-11: 9.9.1, 12: 10.10.1",
    ),
    Case("an admin demoted by a creator", ALICE, changed({MOD: 50}), only="12"),
    Case("a user at the default", MOD, changed({**LEVELS, CAROL: 10}), state=[changed(users_default=40)]),
]


@each(*FORMAT)
def test_format(case, version, rule):
    judge(case, version, rule)


@each(*FIRST)
def test_first(case, version, rule):
    judge(case, version, rule)


@each(*PROPERTIES)
def test_properties(case, version, rule):
    judge(case, version, rule)


@each(*ENTRIES)
def test_entries(case, version, rule):
    judge(case, version, rule)


@each(*USERS)
def test_users(case, version, rule):
    judge(case, version, rule)
