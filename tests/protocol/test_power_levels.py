"""Who may do what: levels with and without an m.room.power_levels event, and values of all formats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.power_levels import INFINITE, PowerLevels, creators_of, parse_level
from murmuration.protocol.room_versions import ROOM_VERSIONS
from tests.protocol.dag import ALICE, ALL_VERSIONS, BOB, CAROL, MOD, create, make_event, power_levels

OLDER, V12 = ALL_VERSIONS[:-1], ALL_VERSIONS[-1:]


def levels(version: str, content: dict | None, **create_content) -> PowerLevels:
    room_version = ROOM_VERSIONS[version]
    created = make_event(room_version, "create", ALICE, create(room_version, **create_content))
    event = None if content is None else make_event(room_version, "powers", ALICE, power_levels(**content))
    return PowerLevels.from_state(created, event, room_version)


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.parametrize("content", [None, {}])
def test_defaults(version, content):
    room = levels(version, content)
    assert (room.ban, room.kick, room.redact, room.invite) == (50, 50, 50, 0)
    assert room.event_level("m.room.topic", is_state=True) == 50
    assert room.event_level("m.room.message", is_state=False) == 0
    assert room.user_level(UserId(BOB)) == 0


@pytest.mark.parametrize("version", OLDER)
def test_a_creator_has_100_until_there_are_power_levels(version):
    assert levels(version, None).user_level(UserId(ALICE)) == 100
    assert levels(version, {}).user_level(UserId(ALICE)) == 0
    assert levels(version, {"users_default": 7}).user_level(UserId(ALICE)) == 7
    assert levels(version, {"users": {ALICE: 50}}).user_level(UserId(ALICE)) == 50


@pytest.mark.parametrize("version", V12)
def test_creators_have_infinite_power_from_version_12_on(version):
    for content in (None, {}, {"users": {ALICE: 50}}):
        room = levels(version, content, additional_creators=[BOB])
        assert room.user_level(UserId(ALICE)) == room.user_level(BOB) == INFINITE
        assert room.user_level(UserId(BOB)) > 2**53
    assert levels(version, {"events": {"x": 2**53 - 1}}).can_send(UserId(ALICE), "x", is_state=True)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_what_the_event_says(version):
    room = levels(
        version,
        {
            "users": {MOD: 60},
            "users_default": 1,
            "events": {"m.room.topic": 70, "m.room.message": -1},
            "events_default": 2,
            "state_default": 60,
            "ban": 61,
            "kick": 60,
            "redact": 59,
            "invite": 61,
            "notifications": {"room": 3},
        },
    )
    assert room.user_level(MOD) == 60
    assert room.user_level(UserId(BOB)) == 1
    assert not room.can_send(MOD, "m.room.topic", is_state=True)
    assert room.can_send(MOD, "m.room.name", is_state=True)
    assert room.can_send(UserId(BOB), "m.room.message", is_state=False)
    assert not room.can_send(UserId(BOB), "m.sticker", is_state=False)
    assert (room.ban, room.kick, room.redact, room.invite) == (61, 60, 59, 61)
    assert room.can_redact(MOD)
    assert not room.can_redact(UserId(BOB))
    assert not room.can_invite(MOD)
    assert not room.can_ban(MOD, BOB)
    assert room.can_kick(MOD, BOB)
    assert not room.can_kick(MOD, MOD)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_who_the_creators_are(version):
    room_version = ROOM_VERSIONS[version]
    named = make_event(
        room_version, "create", ALICE, create(room_version, creator=CAROL, additional_creators=[BOB, 1])
    )
    first = {ALICE} if room_version.implicit_room_creator else {CAROL}
    assert creators_of(named) == (first | {BOB} if version == "12" else first)


def test_without_a_create_event_nobody_is_creator():
    assert PowerLevels.from_state(None, None, ROOM_VERSIONS[RoomId("12")]).user_level(UserId(ALICE)) == 0


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_malformed_values_read_as_if_absent(version):
    room = levels(version, {"users": {BOB: "high"}, "users_default": [], "events": 7, "ban": None})
    assert room.user_level(UserId(BOB)) == 0
    assert room.event_level("m.room.topic", is_state=True) == 50
    assert room.ban == 50


# --- Formats


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_integers_in_every_format_that_a_version_takes(level):
    for version in ROOM_VERSIONS.values():
        assert parse_level(level, version) == level
        if not version.integer_power_levels:
            for text in (f"{level}", f" {level} ", f"\t{level}\n"):
                assert parse_level(text, version) == level
        if not version.strict_canonical_json:
            assert parse_level(float(level), version) == level


@pytest.mark.parametrize(
    ("text", "level"),
    [("100", 100), ("000100", 100), ("+100", 100), ("-100", -100), (" +00100 ", 100), ("0" * 5000 + "7", 7)],
)
def test_strings(text, level):
    assert parse_level(text, ROOM_VERSIONS[RoomId("1")]) == level
    assert parse_level(text, ROOM_VERSIONS[RoomId("9")]) == level
    with pytest.raises(ValueError, match="power level"):
        parse_level(text, ROOM_VERSIONS[RoomId("10")])


@pytest.mark.parametrize("text", ["", " ", "+", "+-1", "1.0", "1e3", "1_000", "0x10", "1 0", "9" * 5000, "٣"])
def test_strings_that_are_no_integers(text):
    with pytest.raises(ValueError, match="integer"):
        parse_level(text, ROOM_VERSIONS[RoomId("1")])


@pytest.mark.parametrize(
    ("value", "level"), [(50.57, 50), (5.114698e4, 51146), (-0.9, 0), (1e308, int(1e308))]
)
def test_floats(value, level):
    assert parse_level(value, ROOM_VERSIONS[RoomId("5")]) == level
    with pytest.raises(ValueError, match="power level"):
        parse_level(value, ROOM_VERSIONS[RoomId("6")])


@pytest.mark.parametrize("value", [None, True, [], {}, float("inf"), float("-inf"), float("nan"), 10**309])
def test_values_that_no_version_takes(value):
    with pytest.raises(ValueError, match=r"power level|binary64"):
        parse_level(value, ROOM_VERSIONS[RoomId("1")])
