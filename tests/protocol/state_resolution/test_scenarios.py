"""Forks known from the specification and from what has gone wrong in rooms, each drawn as a small graph."""

from __future__ import annotations

import pytest

from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.state_resolution import resolve
from tests.protocol.dag import (
    ALICE,
    ALL_VERSIONS,
    BOB,
    CAROL,
    DAVE,
    EVE,
    Room,
    join_rules,
    member,
    message,
    power_levels,
    state,
    topic,
)

FROM_2 = ALL_VERSIONS[1:]
POWER_LEVELS = ("m.room.power_levels", "")
JOIN_RULES = ("m.room.join_rules", "")
TOPIC = ("m.room.topic", "")


def powers(room: Room, **levels: int):
    """Return levels of 100 for alice, and of others by name. From version 12 on alice isn't listed and has
    more.
    """
    users = {UserId(f"@{name}:example.org"): level for name, level in levels.items()}
    return power_levels(users if room.version.privileged_creators else {ALICE: 100, **users})


def public_room(version: str, **levels: int) -> Room:
    """Return a room that anyone may join, with alice (100), bob and carol. The last event is "carol"."""
    room = Room(version)
    room.send("powers", ALICE, powers(room, **levels))
    room.send("public", ALICE, join_rules("public"))
    room.send("bob", BOB, member(BOB, "join"))
    room.send("carol", CAROL, member(CAROL, "join"))
    return room


def of(user_id: UserId) -> tuple[str, str]:
    return ("m.room.member", user_id)


# --- Without conflict


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_one_state_resolves_to_itself(version):
    room = public_room(version)
    assert room.resolve("carol") == room.state_after["carol"]
    assert room.resolve("carol", "carol") == room.state_after["carol"]
    assert room.fetched == []


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_changes_of_different_things_add_up(version):
    room = public_room(version, bob=50)
    room.send("topic", BOB, topic("birds"), after="carol")
    room.send("name", ALICE, state("m.room.name", name="birds"), after="carol")
    assert room.resolved("topic", "name") == {
        **room.resolved("carol"),
        TOPIC: "topic",
        ("m.room.name", ""): "name",
    }


# --- Who loses power loses the race


@pytest.mark.parametrize("version", FROM_2)
def test_a_ban_undoes_what_the_banned_user_did_meanwhile(version):
    """The specification's example of soft failure.

    carol ◄─ ban (alice bans bob)
        ◄─── topic (by bob)
    """
    room = public_room(version, bob=50)
    room.send("ban", ALICE, member(BOB, "ban"), after="carol")
    room.send("topic", BOB, topic("still here"), after="carol")
    resolved = room.resolved("ban", "topic")
    assert resolved[of(BOB)] == "ban"
    assert TOPIC not in resolved


def test_in_version_1_what_the_banned_user_did_meanwhile_stays():
    room = public_room("1", bob=50)
    room.send("ban", ALICE, member(BOB, "ban"), after="carol")
    room.send("topic", BOB, topic("still here"), after="carol")
    resolved = room.resolved("ban", "topic")
    assert resolved[of(BOB)] == "ban"
    assert resolved[TOPIC] == "topic"


@pytest.mark.parametrize("version", FROM_2)
def test_a_ban_beats_the_power_the_banned_user_gave_meanwhile(version):
    """carol ◄─ ban (alice bans bob);  carol ◄─ accomplice (bob makes carol a moderator, even before)."""
    room = public_room(version, bob=50)
    room.send("accomplice", BOB, powers(room, bob=50, carol=50), after="carol", ts=1)
    room.send("ban", ALICE, member(BOB, "ban"), after="carol", ts=2_000_000)
    room.send("topic", CAROL, topic("mine"), after="accomplice")
    resolved = room.resolved("ban", "topic")
    assert resolved[of(BOB)] == "ban"
    assert resolved[POWER_LEVELS] == "powers"
    assert TOPIC not in resolved


@pytest.mark.parametrize("version", FROM_2)
def test_a_demotion_beats_what_the_demoted_user_did_meanwhile(version):
    room = public_room(version, bob=50)
    room.send("promotion", BOB, powers(room, bob=50, carol=50), after="carol", ts=1)
    room.send("demotion", ALICE, powers(room, bob=0), after="carol", ts=2_000_000)
    assert room.resolved("promotion", "demotion")[POWER_LEVELS] == "demotion"


@pytest.mark.parametrize("version", FROM_2)
def test_a_kick_beats_the_kicked_users_own_profile_change(version):
    room = public_room(version)
    room.send("kick", ALICE, member(BOB, "leave"), after="carol")
    room.send("profile", BOB, member(BOB, "join", displayname="Bob"), after="carol")
    # In a public room the profile change is as good as joining again; in this one it is not.
    closed = Room(version)
    closed.send("powers", ALICE, powers(closed))
    closed.send("invite", ALICE, member(BOB, "invite"))
    closed.send("bob", BOB, member(BOB, "join"))
    closed.send("kick", ALICE, member(BOB, "leave"), after="bob")
    closed.send("profile", BOB, member(BOB, "join", displayname="Bob"), after="bob")
    assert room.resolved("kick", "profile")[of(BOB)] == "profile"
    assert closed.resolved("kick", "profile")[of(BOB)] == "kick"


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_leaving_does_not_shake_off_a_ban(version):
    room = public_room(version)
    room.send("leave", BOB, member(BOB, "leave"), after="carol")
    room.send("ban", ALICE, member(BOB, "ban"), after="carol")
    assert room.resolved("leave", "ban")[of(BOB)] == "ban"


# --- Evading join rules


@pytest.mark.parametrize("version", FROM_2)
def test_a_join_from_before_the_room_was_closed_is_undone(version):
    """eve's server sends her join after an event from before `closed`, although it knows `closed`."""
    room = public_room(version)
    room.send("closed", ALICE, join_rules("invite"), after="carol")
    room.send("eve", EVE, member(EVE, "join"), after="carol", ts=1)
    resolved = room.resolved("closed", "eve")
    assert resolved[JOIN_RULES] == "closed"
    assert of(EVE) not in resolved


@pytest.mark.parametrize("version", FROM_2)
def test_members_stay_when_the_room_is_closed(version):
    room = public_room(version)
    room.send("closed", ALICE, join_rules("invite"), after="carol")
    room.send("profile", BOB, member(BOB, "join", displayname="Bob"), after="carol")
    resolved = room.resolved("closed", "profile")
    assert resolved[JOIN_RULES] == "closed"
    assert resolved[of(BOB)] == "profile"


# --- Ties


@pytest.mark.parametrize("version", FROM_2)
def test_of_two_changes_of_equal_standing_the_later_stays(version):
    room = public_room(version, bob=50)
    room.send("alices", ALICE, topic("a"), after="carol", ts=20)
    room.send("bobs", BOB, topic("b"), after="carol", ts=10)
    assert room.resolved("alices", "bobs")[TOPIC] == "alices"


@pytest.mark.parametrize("version", FROM_2)
def test_at_the_same_time_the_greater_event_id_stays(version):
    room = public_room(version, bob=50)
    room.send("x", ALICE, topic("a"), after="carol", ts=10)
    room.send("y", BOB, topic("b"), after="carol", ts=10)
    assert room.resolved("x", "y")[TOPIC] == "y"


def test_in_version_1_the_deepest_event_stays_and_at_equal_depth_the_lowest_hash():
    room = public_room("1", bob=50)
    room.send("shallow", ALICE, topic("a"), after="carol", ts=50_000)
    room.send("pause", BOB, message(), after="carol")
    room.send("deep", BOB, topic("b"), after="pause", ts=1)
    assert room.resolved("shallow", "deep")[TOPIC] == "deep"
    room.send("equal", BOB, topic("c"), after="carol")
    # The SHA-1 of "$equal:example.org" begins with 33, that of "$shallow:example.org" with 02.
    assert room.resolved("shallow", "equal")[TOPIC] == "shallow"


@pytest.mark.parametrize("version", FROM_2)
def test_changes_by_equals_in_power_are_both_tried_the_earlier_first(version):
    """Two power levels by users of the same level: the later one is checked after the earlier one, which
    allows it.
    """
    room = public_room(version, bob=90, carol=90)
    room.send("bobs", BOB, powers(room, bob=90, carol=90, dave=50), after="carol", ts=10)
    room.send("carols", CAROL, powers(room, bob=90, carol=90, eve=50), after="carol", ts=20)
    assert room.resolved("bobs", "carols")[POWER_LEVELS] == "carols"


# --- The mainline


@pytest.mark.parametrize("version", FROM_2)
def test_what_was_sent_under_newer_power_levels_stays_whatever_the_clock_says(version):
    """carol ◄─ old (topic);  carol ◄─ newer (power levels) ◄─ new (topic, by a clock that is behind)."""
    room = public_room(version, bob=50)
    room.send("old", ALICE, topic("old"), after="carol", ts=9_000_000)
    room.send("newer", ALICE, powers(room, bob=60), after="carol")
    room.send("new", BOB, topic("new"), after="newer", ts=1)
    assert room.resolved("old", "new")[TOPIC] == "new"


@pytest.mark.parametrize("version", FROM_2)
def test_what_no_power_levels_stand_behind_comes_first(version):
    """alice ◄─ early (topic, by a clock that is ahead);  alice ◄─ powers ◄─ late (topic)."""
    room = Room(version)
    room.send("early", ALICE, topic("early"), after="alice", ts=9_000_000)
    room.send("powers", ALICE, powers(room), after="alice")
    room.send("late", ALICE, topic("late"), after="powers", ts=1)
    assert room.resolved("early", "late")[TOPIC] == "late"


@pytest.mark.parametrize("version", FROM_2)
def test_power_levels_that_lost_count_as_those_they_stand_on(version):
    """bob ◄─ promotion (bob's, loses) ◄─ bobs (topic);  bob ◄─ demotion (alice's);  bob ◄─ alices (topic).

    Both topics stand on `powers`, so time decides between them; bob, demoted to 40, may still set topics.
    """
    room = Room(version)
    lenient = {"state_default": 30}
    users = {} if room.version.privileged_creators else {ALICE: 100}
    room.send(
        "powers", ALICE, power_levels({**users, BOB: 50}, events={"m.room.power_levels": 50}, **lenient)
    )
    room.send("public", ALICE, join_rules("public"))
    room.send("bob", BOB, member(BOB, "join"))
    promotion = power_levels({**users, BOB: 50, CAROL: 50}, events={"m.room.power_levels": 50}, **lenient)
    demotion = power_levels({**users, BOB: 40}, events={"m.room.power_levels": 50}, **lenient)
    room.send("promotion", BOB, promotion, after="bob")
    room.send("bobs", BOB, topic("b"), after="promotion", ts=10)
    room.send("demotion", ALICE, demotion, after="bob")
    room.send("alices", ALICE, topic("a"), after="bob", ts=20)
    room.send("merged", ALICE, message(), after=["demotion", "alices"])
    resolved = room.resolved("bobs", "merged")
    assert resolved[POWER_LEVELS] == "demotion"
    assert resolved[TOPIC] == "alices"


# --- State resets


def admin_gone(version: str) -> Room:
    """alice gives carol power and leaves, the one unseen by the other; then each is seen by someone else.

    carol ◄─ gift (power levels) ◄────── both (bob has seen both)
        ◄─── gone (alice leaves) ◄──┘
                                 ◄────── one (carol has seen that alice is gone)
    """
    room = public_room(version)
    room.send("gift", ALICE, powers(room, carol=50), after="carol")
    room.send("gone", ALICE, member(ALICE, "leave"), after="carol")
    room.send("both", BOB, message(), after=["gift", "gone"])
    room.send("one", CAROL, message(), after="gone")
    return room


@pytest.mark.parametrize("version", ["2", "6", "11"])
def test_before_version_12_power_levels_may_vanish_with_the_admin(version):
    """alice's leave is not in conflict, so by the rules she may send no power levels at all."""
    assert POWER_LEVELS not in admin_gone(version).resolved("both", "one")


def test_from_version_12_on_power_levels_outlast_the_admin():
    """Resolution 2.1 starts from the empty state, so alice's membership is that of when she sent them."""
    assert admin_gone("12").resolved("both", "one")[POWER_LEVELS] == "gift"


def rolled_back(version: str) -> Room:
    """Of three power levels in a row, the first is current for a server that knows who came under the second.

    powers (bob 50) ◄─ second (bob 90) ◄─ carol2 (carol joins again) ◄─ third (bob's: dave 90)
    """
    room = public_room(version, bob=50)
    room.send("second", ALICE, powers(room, bob=90))
    room.send("carol2", CAROL, member(CAROL, "join", displayname="C"))
    room.send("third", BOB, powers(room, bob=90, dave=90))
    return room


@pytest.mark.parametrize(("version", "winner"), [("2", "powers"), ("11", "powers"), ("12", "third")])
def test_version_12_looks_at_power_levels_between_those_in_conflict(version, winner):
    """`second`, by way of carol2, is in the auth chain of both states, so not in their difference.

    Without it `third` fails.
    """
    room = rolled_back(version)
    current = room.state_after["third"]
    claimed = {**current, POWER_LEVELS: room["powers"].event_id}
    resolved = resolve(room.version, [current, claimed], room.fetch)
    assert resolved[POWER_LEVELS] == room[winner].event_id


@pytest.mark.parametrize("version", FROM_2)
def test_who_came_in_by_the_invite_of_a_user_banned_meanwhile_stays(version):
    """bob ◄─ ban (of bob);  bob ◄─ dave-invited (by bob) ◄─ dave ◄─ eve-invited (by dave).

    The invite is undone, but where the state has no membership the join's own auth event serves.
    """
    room = Room(version)
    room.send("powers", ALICE, powers(room, bob=50))
    room.send("invite", ALICE, member(BOB, "invite"))
    room.send("bob", BOB, member(BOB, "join"))
    room.send("ban", ALICE, member(BOB, "ban"), after="bob")
    room.send("dave-invited", BOB, member(DAVE, "invite"), after="bob")
    room.send("dave", DAVE, member(DAVE, "join"))
    room.send("eve-invited", DAVE, member(EVE, "invite"))
    resolved = room.resolved("ban", "eve-invited")
    assert resolved[of(BOB)] == "ban"
    assert resolved[of(DAVE)] == "dave"
    assert resolved[of(EVE)] == "eve-invited"
    assert of(DAVE) not in room.resolved("ban", "dave-invited")


# --- Rejected events


@pytest.mark.parametrize("version", FROM_2)
def test_a_rejected_event_takes_part_but_authorises_nothing(version):
    """`self-made` was rejected where it was sent, so a topic that cites it is as one that cites no levels."""
    room = public_room(version)
    room.send("self-made", BOB, powers(room, bob=50), after="carol", rejected=True)
    cited = [room.name_of(event_id) for event_id in room["self-made"].auth_events]
    cited = ["self-made", *(name for name in cited if name != "powers")]
    room.send("topic", BOB, topic("t"), after="carol", auth=cited, rejected=True)
    before = room.state_after["carol"]
    claimed = {**before, TOPIC: room["topic"].event_id}
    without_powers = [
        {key: it for key, it in one.items() if key != POWER_LEVELS} for one in (before, claimed)
    ]
    resolved = resolve(room.version, without_powers, room.fetch, rejected=room.rejected)
    assert TOPIC not in resolved
    trusted = resolve(room.version, without_powers, room.fetch)
    assert trusted[TOPIC] == room["topic"].event_id


# --- Creators from version 12 on


def test_a_creator_outranks_everyone_in_a_race():
    """bob, of the highest level there can be, removes alice's moderators while she removes him."""
    room = Room(RoomId("12"))
    room.send("powers", ALICE, power_levels({BOB: 2**53 - 1, CAROL: 50}))
    room.send("public", ALICE, join_rules("public"))
    room.send("bob", BOB, member(BOB, "join"))
    room.send("coup", BOB, power_levels({BOB: 2**53 - 1}), after="bob", ts=1)
    room.send("justice", ALICE, power_levels({CAROL: 50}), after="bob", ts=9_000_000)
    assert room.resolved("coup", "justice")[POWER_LEVELS] == "justice"


def test_an_additional_creator_is_one_too():
    room = Room(RoomId("12"), additional_creators=[BOB])
    room.send("powers", ALICE, power_levels({CAROL: 100}))
    room.send("public", ALICE, join_rules("public"))
    room.send("bob", BOB, member(BOB, "join"))
    room.send("carol", CAROL, member(CAROL, "join"))
    room.send("carols", CAROL, power_levels({CAROL: 100, DAVE: 50}), after="carol", ts=1)
    room.send("bobs", BOB, power_levels({}), after="carol", ts=9_000_000)
    assert room.resolved("carols", "bobs")[POWER_LEVELS] == "bobs"
