"""Which auth events an event should have, and the rules about those that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.auth_rules import (
    AuthRuleViolation,
    auth_event_types,
    auth_event_types_of,
    auth_state_types,
    check_auth_events,
)
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.auth_rules.cases import numbers, room, versions, with_extra
from tests.protocol.dag import (
    ALICE,
    ALL_VERSIONS,
    BOB,
    CAROL,
    MOD,
    Piece,
    create,
    make_event,
    member,
    message,
    topic,
)

CREATE = ("m.room.create", "")
POWER_LEVELS = ("m.room.power_levels", "")
JOIN_RULES = ("m.room.join_rules", "")


def of(user_id: str) -> tuple[str, str]:
    return ("m.room.member", user_id)


VOUCHED = {"join_authorised_via_users_server": MOD}
INVITE = {"third_party_invite": {"signed": {"token": "t"}}}


@pytest.mark.parametrize(
    ("sender", "piece", "selected"),
    [
        (BOB, message(), []),
        (BOB, topic("birds"), []),
        (BOB, Piece("m.room.member", None, {"membership": "join"}), []),
        (BOB, member(BOB, "join"), [JOIN_RULES]),
        (BOB, member(BOB, "leave"), []),
        (CAROL, member(CAROL, "knock"), [JOIN_RULES]),
        (BOB, member(CAROL, "invite"), [of(CAROL), JOIN_RULES]),
        (BOB, member(CAROL, "leave"), [of(CAROL)]),
        (BOB, member(CAROL, "ban"), [of(CAROL)]),
        (BOB, member(CAROL, "invite", **INVITE), [of(CAROL), JOIN_RULES, ("m.room.third_party_invite", "t")]),
        (BOB, member(CAROL, "invite", third_party_invite={"signed": {"token": 1}}), [of(CAROL), JOIN_RULES]),
        (BOB, member(CAROL, "invite", third_party_invite={"signed": "t"}), [of(CAROL), JOIN_RULES]),
        (BOB, member(CAROL, "invite", third_party_invite="t"), [of(CAROL), JOIN_RULES]),
        (BOB, member(CAROL, "leave", **INVITE), [of(CAROL)]),
        (BOB, member(BOB, "leave", **VOUCHED), []),
        (BOB, member(BOB, "join", join_authorised_via_users_server=[MOD]), [JOIN_RULES]),
        (BOB, member(BOB, "join", join_authorised_via_users_server=BOB), [JOIN_RULES]),
    ],
)
@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_selection(version, sender, piece, selected):
    room_version = ROOM_VERSIONS[version]
    expected = {POWER_LEVELS, of(sender), *selected}
    arguments = (room_version, piece.type, sender, piece.state_key, piece.content)
    assert set(auth_event_types(*arguments)) == (expected if version == "12" else expected | {CREATE})
    assert set(auth_state_types(*arguments)) == expected | {CREATE}
    assert len(auth_event_types(*arguments)) == len(set(auth_event_types(*arguments)))


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_selection_of_who_authorises_a_restricted_join(version):
    event = make_event(ROOM_VERSIONS[version], "event", BOB, member(BOB, "join", **VOUCHED))
    assert (of(MOD) in auth_event_types_of(event)) == (version in versions("8-12"))


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_a_create_event_has_no_auth_events(version):
    event = make_event(ROOM_VERSIONS[version], "create", ALICE, create(ROOM_VERSIONS[version]))
    assert auth_event_types_of(event) == []
    check_auth_events(event, {}, set())


# --- The rules


def well_authorised(version: RoomVersion) -> tuple[Event, dict[EventId, Event]]:
    """Return an event of mod with the right auth events, and all events of the room by ID."""
    piece = topic("birds")
    state = room(version, [])
    pairs = auth_event_types(version, piece.type, MOD, piece.state_key, piece.content)
    selected = [name_of(state[pair]) for pair in pairs if pair in state]
    event = make_event(version, "event", MOD, piece, auth=selected)
    return event, {event.event_id: event for event in state.values()}


def name_of(event: Event) -> str:
    return event.event_id[1:].partition(":")[0]


def with_auth(event: Event, change: Callable[[list[str]], list[str]]) -> Event:
    """Return the event with other auth events, given by ID."""
    references: list[Any] = change(list(event.auth_events))
    if event.room_version.server_assigned_event_ids:
        references = [(event_id, {}) for event_id in references]
    return Event({**event.pdu, "auth_events": references}, event.room_version, event.event_id)


def adding(other: Event) -> Callable[[list[str]], list[str]]:
    return lambda ids: [*ids, other.event_id]


def refused_by(event: Event, known: dict[EventId, Event], rejected: frozenset[str] = frozenset()) -> str:
    with pytest.raises(AuthRuleViolation) as refused:
        check_auth_events(event, known, rejected)
    return refused.value.rule


def each(rules: str) -> pytest.MarkDecorator:
    given = [(ROOM_VERSIONS[version], rule) for version, rule in numbers(rules).items()]
    return pytest.mark.parametrize(("version", "rule"), given, ids=[version.id for version, _ in given])


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=ALL_VERSIONS)
def test_the_selected_events_pass(version):
    event, known = well_authorised(version)
    check_auth_events(event, known, set())
    check_auth_events(with_auth(event, lambda ids: ids[::-1]), known, {"$another"})


@each("1-11: 2.1, 12: 3.1")
def test_duplicates(version, rule):
    event, known = well_authorised(version)
    assert refused_by(with_auth(event, lambda ids: [*ids, ids[-1]]), known) == rule
    second = make_event(version, "second", MOD, member(MOD, "join"))
    assert refused_by(with_auth(event, adding(second)), {**known, second.event_id: second}) == rule


@each("1-11: 2.2, 12: 3.2")
def test_entries_that_do_not_belong(version, rule):
    event, known = well_authorised(version)
    for name in ("join_rules", "member"):
        other = next(it for it in known.values() if it.type == f"m.room.{name}" and it.state_key != MOD)
        assert refused_by(with_auth(event, adding(other)), known) == rule
    chat = make_event(version, "chat", MOD, message())
    assert refused_by(with_auth(event, adding(chat)), {**known, chat.event_id: chat}) == rule


def test_from_version_12_on_the_create_event_does_not_belong():
    event, known = well_authorised(ROOM_VERSIONS[RoomId("12")])
    assert refused_by(with_auth(event, lambda ids: ["$create", *ids]), known) == "3.2"


@each("1-11: 2.3, 12: 3.3")
def test_rejected_entries(version, rule):
    event, known = well_authorised(version)
    assert refused_by(event, known, frozenset({event.auth_events[-1]})) == rule


@each("1-11: 2.4")
def test_no_create_event(version, rule):
    event, known = well_authorised(version)
    assert refused_by(with_auth(event, lambda ids: ids[1:]), known) == rule
    assert refused_by(with_auth(event, lambda ids: []), known) == rule


@each("1-11: 2.5, 12: 3.4")
def test_entries_of_another_room(version, rule):
    event, known = well_authorised(version)
    foreign = with_extra(member(MOD, "join"), room_id="!elsewhere:example.org")
    stranger = make_event(version, "stranger", MOD, foreign)
    replaced = with_auth(event, lambda ids: [*ids[:-1], stranger.event_id])
    assert refused_by(replaced, {**known, stranger.event_id: stranger}) == rule


@each("12: 2")
def test_a_room_that_no_accepted_create_event_made(version, rule):
    event, known = well_authorised(version)
    assert refused_by(event, known, frozenset({"$create"})) == rule
    assert (
        refused_by(event, {**known, EventId("$create"): make_event(version, "create", MOD, message())})
        == rule
    )
    del known[EventId("$create")]
    assert refused_by(event, known) == rule


@each("1-11: 2, 12: 3")
def test_an_entry_that_nobody_has(version, rule):
    event, known = well_authorised(version)
    del known[event.auth_events[-1]]
    assert refused_by(event, known) == rule


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=ALL_VERSIONS)
def test_no_power_levels_are_needed(version):
    event, known = well_authorised(version)
    power_levels = next(it.event_id for it in known.values() if it.type == "m.room.power_levels")
    check_auth_events(with_auth(event, lambda ids: [it for it in ids if it != power_levels]), known, set())
