"""The rules about all events, and about those of types other than membership and power levels."""

from __future__ import annotations

import pytest

from murmuration.protocol.auth_rules import AuthRuleViolation, check_auth
from murmuration.protocol.errors import Forbidden
from murmuration.protocol.identifiers import RoomId
from murmuration.protocol.room_versions import ROOM_VERSIONS
from tests.protocol.auth_rules.cases import LEVELS, Case, each, judge, numbers, room, with_extra
from tests.protocol.dag import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    EVE,
    MOD,
    Piece,
    make_event,
    member,
    message,
    power_levels,
    state,
    topic,
)

CREATION = [
    Case("a room is created", ALICE, state("m.room.create", creator=ALICE), prev=()),
    Case("of a known version", ALICE, state("m.room.create", creator=ALICE, room_version="11"), prev=()),
    Case("after something", ALICE, state("m.room.create", creator=ALICE), rules="1-12: 1.1"),
    Case("on another server", EVE, state("m.room.create", creator=EVE), rules="1-11: 1.2", prev=()),
    Case("on any server, as the ID has none", EVE, state("m.room.create"), only="12", prev=()),
    Case(
        "with a room ID",
        ALICE,
        with_extra(state("m.room.create"), room_id="!room:example.org"),
        rules="12: 1.2",
        prev=(),
    ),
    *(
        Case(
            f"of version {unknown!r}",
            ALICE,
            state("m.room.create", creator=ALICE, room_version=unknown),
            rules="1-12: 1.3",
            prev=(),
        )
        for unknown in ("99", 11, None, ["1"])
    ),
    Case("without a creator", ALICE, state("m.room.create"), rules="1-10: 1.4", prev=()),
    Case("without a creator, who is the sender", ALICE, state("m.room.create"), only="11-12", prev=()),
    Case(
        "with additional creators",
        ALICE,
        state("m.room.create", additional_creators=[BOB]),
        only="12",
        prev=(),
    ),
    *(
        Case(
            f"with additional creators {wrong!r}",
            ALICE,
            state("m.room.create", additional_creators=wrong),
            rules="12: 1.4",
            prev=(),
        )
        for wrong in (BOB, [1], ["bob"], {BOB: 1}, None, [BOB, "@bob"])
    ),
    Case(
        "with what means nothing yet",
        ALICE,
        state("m.room.create", creator=ALICE, additional_creators=1),
        only="1-11",
        prev=(),
    ),
]

FEDERATION = [
    Case("others may send in a room that federates", DAVE, message()),
    Case("or says so", DAVE, message(), create={"m.federate": True}),
    Case(
        "but not in one that does not",
        DAVE,
        message(),
        rules="1-2: 3, 3-11: 3, 12: 4",
        create={"m.federate": False},
    ),
    Case("its own server may", BOB, message(), create={"m.federate": False}),
]

ALIASES = [
    Case("a server's aliases", CAROL, state("m.room.aliases", "example.org"), only="1-5"),
    Case("without a state key", CAROL, message("m.room.aliases"), rules="1-5: 4.1"),
    Case("another server's", CAROL, state("m.room.aliases", "other.example"), rules="1-5: 4.2"),
    Case("mean nothing later", CAROL, state("m.room.aliases", "example.org"), rules="6-11: 5, 12: 6"),
    Case("and need power", BOB, state("m.room.aliases", "example.org"), rules="6-11: 7, 12: 8"),
    Case("which some have", MOD, state("m.room.aliases", "other.example"), only="6-12"),
]

SENDING = [
    Case("a member speaks", BOB, message()),
    *(
        Case(
            f"one of membership {membership} speaks",
            CAROL,
            message(),
            rules="1-5: 6, 6-11: 5, 12: 6",
            state=[member(CAROL, membership)],
        )
        for membership in ("invite", "leave", "ban", "knock")
    ),
    Case(
        "a creator who left speaks",
        ALICE,
        message(),
        rules="1-5: 6, 6-11: 5, 12: 6",
        state=[member(ALICE, "leave")],
    ),
    Case("a third-party invite", BOB, state("m.room.third_party_invite", "token")),
    Case(
        "a third-party invite without the power",
        BOB,
        state("m.room.third_party_invite", "token"),
        rules="1-5: 7.1, 6-11: 6.1, 12: 7.1",
        state=[power_levels(LEVELS, invite=1)],
    ),
    Case("a topic", MOD, topic("birds")),
    Case("a topic without the power", BOB, topic("birds"), rules="1-5: 8, 6-11: 7, 12: 8"),
    Case(
        "of a type that takes more",
        MOD,
        topic("birds"),
        rules="1-5: 8, 6-11: 7, 12: 8",
        state=[power_levels(LEVELS, events={"m.room.topic": 51})],
    ),
    Case(
        "of a type that takes less",
        BOB,
        topic("birds"),
        state=[power_levels(LEVELS, events={"m.room.topic": 0})],
    ),
    Case("state at a lower default", BOB, topic("birds"), state=[power_levels(LEVELS, state_default=0)]),
    Case(
        "a message at a higher default",
        BOB,
        message(),
        rules="1-5: 8, 6-11: 7, 12: 8",
        state=[power_levels(LEVELS, events_default=1)],
    ),
    Case("one's own state", MOD, state("org.example.pet", MOD)),
    Case("state of a key that begins otherwise", MOD, state("org.example.pet", "_@bob:example.org")),
    Case("another's state", MOD, state("org.example.pet", BOB), rules="1-5: 9, 6-11: 8, 12: 9"),
    Case(
        "a state key that begins like a user's",
        MOD,
        state("org.example.pet", "@"),
        rules="1-5: 9, 6-11: 8, 12: 9",
    ),
    Case(
        "a creator sends what takes any level",
        ALICE,
        topic("birds"),
        only="12",
        state=[power_levels({}, state_default=2**53 - 1)],
    ),
    Case("so does an additional one", BOB, topic("birds"), only="12", create={"additional_creators": [BOB]}),
]


def redaction(redacts: str) -> Piece:
    return with_extra(message("m.room.redaction"), redacts=redacts)


REDACTIONS = [
    Case("with the power", MOD, redaction("$event:other.example"), only="1-2"),
    Case("of the own server's event", BOB, redaction("$event:example.org"), only="1-2"),
    Case("of another's event", BOB, redaction("$event:other.example"), rules="1-2: 11.3"),
    Case("of nothing", BOB, message("m.room.redaction"), rules="1-2: 11.3"),
    Case("is as any event later", BOB, redaction("$event"), only="3-12"),
    Case(
        "and takes its level",
        BOB,
        redaction("$event"),
        rules="3-5: 8, 6-11: 7, 12: 8",
        state=[power_levels(LEVELS, events={"m.room.redaction": 1})],
    ),
]


@each(*CREATION)
def test_creation(case, version, rule):
    judge(case, version, rule)


@each(*FEDERATION)
def test_federation(case, version, rule):
    judge(case, version, rule)


@each(*ALIASES)
def test_aliases(case, version, rule):
    judge(case, version, rule)


@each(*SENDING)
def test_sending(case, version, rule):
    judge(case, version, rule)


@each(*REDACTIONS)
def test_redactions(case, version, rule):
    judge(case, version, rule)


def test_a_violation_is_forbidden_and_says_why():
    version = ROOM_VERSIONS[RoomId("12")]
    with pytest.raises(Forbidden) as refused:
        check_auth(make_event(version, "event", BOB, topic("birds")), room(version, []))
    assert refused.value.body() == {
        "errcode": "M_FORBIDDEN",
        "error": "The sender's power level is too low to send m.room.topic (authorisation rule 8)",
    }


@pytest.mark.parametrize(("version", "rule"), numbers("1-11: 2.4, 12: 2").items())
def test_a_room_needs_a_create_event(version: str, rule: str):
    room_version = ROOM_VERSIONS[version]
    before = room(room_version, [])
    del before["m.room.create", ""]
    with pytest.raises(AuthRuleViolation) as refused:
        check_auth(make_event(room_version, "event", BOB, message()), before)
    assert refused.value.rule == rule


def test_from_version_12_on_the_create_event_is_the_one_that_the_room_id_names():
    version = ROOM_VERSIONS[RoomId("12")]
    elsewhere = with_extra(message(), room_id="!elsewhere")
    with pytest.raises(AuthRuleViolation) as refused:
        check_auth(make_event(version, "event", BOB, elsewhere), room(version, []))
    assert refused.value.rule == "2"
