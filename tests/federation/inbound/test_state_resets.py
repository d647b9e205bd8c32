"""Known incidents in which rooms lost state, replayed: the resulting state, and the notice to the operator.

Two of them are the problems A and B of MSC4297: a server tells an outdated state where events are missing.
Rooms of versions 2 to 11 lose state by that, as their algorithm says; from version 12 on (2.1) they don't.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import queues
from murmuration.federation.inbound import resets
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.storage import notices
from tests.in_process import Client
from tests.rooms.other_servers import OTHER, Mirror, current_state
from tests.rooms.people import create_room, join, leave, ok, path, send, set_state

V2 = ("2", "6", "11")
V2_1 = ("12",)
BOTH = (*V2, *V2_1)
JOIN_RULES, POWER_LEVELS = ("m.room.join_rules", ""), ("m.room.power_levels", "")
TOPIC = ("m.room.topic", "")
BOB, CAROL, DAVE = (UserId(f"@{name}:{OTHER}") for name in ("bob", "carol", "dave"))


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the messages in the dead letters' queue."""
    sent: list[dict[str, Any]] = []

    def put(name: str, body: dict[str, Any], **_: Any) -> None:
        assert name == resets.DEAD_LETTERS
        sent.append(body)

    monkeypatch.setattr(queues, "put", put)
    return sent


@pytest.fixture
def zoe(make_client: Callable[..., Client]) -> Client:
    return make_client("zoe")


def shared(alice: Client, zoe: Client, version: str) -> Mirror:
    """Return a room of Alice's in which Zoe is, of this server, and Bob, Carol and Dave of another."""
    room_id = RoomId(create_room(alice, preset="public_chat", room_version=version))
    join(zoe, room_id)
    mirror = Mirror(room_id)
    for user in (BOB, CAROL, DAVE):
        mirror.send(mirror.member(user, user, "join"))
    return mirror


def give_power(mirror: Mirror, sender: UserId, **levels: int) -> Event:
    """Send power levels by `sender`, who may be a client's user, with these levels for users of the other
    server.
    """
    state = mirror.resolve(mirror.newest())
    content = dict(mirror.events[state[POWER_LEVELS]].content)
    users = {f"@{name}:{OTHER}": level for name, level in levels.items()}
    return mirror.state(sender, "m.room.power_levels", {**content, "users": {**content["users"], **users}})


def come_after_gap(mirror: Mirror, sender: UserId, told: dict[StateKey, Event | None]) -> Event:
    """Send a message after an unknown one. Its server returns the state before it with these changes."""
    lost = mirror.message(sender, "lost")
    mirror.hidden.add(lost.event_id)
    event = mirror.message(sender, "after the gap", after=lost)
    state = dict(mirror.state_at[event.event_id])
    for pair, it in told.items():
        if it is None:
            state.pop(pair, None)
        else:
            state[pair] = it.event_id
    mirror.state_at[event.event_id] = state
    assert mirror.kinds(event) == ["accepted"]
    return event


def event_of(mirror: Mirror, pair: StateKey) -> Event:
    """Return the state event that is current in the model."""
    return mirror.events[mirror.resolve(mirror.newest())[pair]]


@pytest.mark.parametrize("version", BOTH)
def test_outdated_join_rules_by_somebody_who_left(
    alice: Client, zoe: Client, version: str, letters: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """MSC4297's problem A: both join rules were set by Alice, and both forks agree that she has left."""
    mirror = shared(alice, zoe, version)
    old = event_of(mirror, JOIN_RULES)
    new = set_state(alice, mirror.room_id, "m.room.join_rules", {"join_rule": "invite"})
    leave(alice, mirror.room_id)
    mirror.catch_up()
    with caplog.at_level(logging.ERROR):
        event = come_after_gap(mirror, BOB, {JOIN_RULES: old})
    found = current_state(mirror.room_id).get(JOIN_RULES)
    if version in V2_1:
        assert (found, letters) == (new, [])
        return
    assert found is None
    changed = {"type": "m.room.join_rules", "state_key": "", "before": new, "after": None}
    told = {"room_id": mirror.room_id, "event_id": event.event_id, "entries": 1}
    assert letters == [{"state_reset": told, "changed": [changed]}]
    assert "state reset" in caplog.text


@pytest.mark.parametrize("version", BOTH)
def test_outdated_power_levels_that_a_chain_of_promotions_followed(
    alice: Client, zoe: Client, version: str, letters: list[Any]
) -> None:
    """MSC4297's problem B: Carol's promotion depends on Bob's promotion, which neither fork has."""
    mirror = shared(alice, zoe, version)
    old = event_of(mirror, POWER_LEVELS)
    first = give_power(mirror, UserId(alice.user_id), bob=100)
    second = give_power(mirror, BOB, carol=50)
    topic = mirror.topic(CAROL, "by Carol, whose power both forks know")
    assert mirror.kinds(first, second, topic) == ["accepted"] * 3
    come_after_gap(mirror, DAVE, {POWER_LEVELS: old})
    found = current_state(mirror.room_id)
    assert found[TOPIC] == topic.event_id
    if version in V2_1:
        assert (found[POWER_LEVELS], letters) == (second.event_id, [])
        return
    assert found[POWER_LEVELS] == old.event_id
    (letter,) = letters
    assert [(it["type"], it["after"]) for it in letter["changed"]] == [("m.room.power_levels", old.event_id)]


@pytest.mark.parametrize("version", BOTH)
def test_a_state_that_lacks_much(alice: Client, zoe: Client, version: str, letters: list[Any]) -> None:
    """A server returns a state without power levels, join rules and other servers' members. Nothing
    is lost.
    """
    mirror = shared(alice, zoe, version)
    set_state(alice, mirror.room_id, "m.room.topic", {"topic": "tea"})
    mirror.catch_up()
    before = current_state(mirror.room_id)
    missing = [POWER_LEVELS, JOIN_RULES, TOPIC, ("m.room.member", zoe.user_id), ("m.room.member", CAROL)]
    come_after_gap(mirror, BOB, dict.fromkeys(missing))
    assert (current_state(mirror.room_id), letters) == (before, [])


@pytest.mark.parametrize("version", BOTH)
def test_a_topic_of_yesterday(alice: Client, zoe: Client, version: str, letters: list[Any]) -> None:
    """Of two topics under the same power levels the later one stays, even if a server returns only the older
    one.
    """
    mirror = shared(alice, zoe, version)
    set_state(alice, mirror.room_id, "m.room.topic", {"topic": "old"})
    mirror.catch_up()
    old = event_of(mirror, TOPIC)
    new = set_state(alice, mirror.room_id, "m.room.topic", {"topic": "new"})
    mirror.catch_up()
    come_after_gap(mirror, BOB, {TOPIC: old})
    assert (current_state(mirror.room_id)[TOPIC], letters) == (new, [])


@pytest.mark.parametrize("version", BOTH)
def test_clocks_that_are_wrong(alice: Client, zoe: Client, version: str, letters: list[Any]) -> None:
    """A fork has a topic with a timestamp in the far future. It wins once; later topics replace it."""
    mirror = shared(alice, zoe, version)
    assert mirror.kinds(give_power(mirror, UserId(alice.user_id), bob=50)) == ["accepted"]
    base = mirror.newest()
    ahead = mirror.topic(BOB, "from 2100", after=base, origin_server_ts=4_102_444_800_000)
    ours = mirror.topic(UserId(alice.user_id), "now", after=base)
    assert mirror.kinds(ours, ahead) == ["accepted", "accepted"]
    assert current_state(mirror.room_id)[TOPIC] == ahead.event_id
    mirror.catch_up()
    again = set_state(alice, mirror.room_id, "m.room.topic", {"topic": "again"})
    assert (current_state(mirror.room_id)[TOPIC], letters) == (again, [])


@pytest.mark.parametrize("version", BOTH)
def test_who_was_banned_goes_on_from_before_the_ban(
    alice: Client, zoe: Client, version: str, letters: list[Any]
) -> None:
    """A moderator who is banned forks the room before the ban. The ban stays, and so does the state."""
    mirror = shared(alice, zoe, version)
    assert mirror.kinds(give_power(mirror, UserId(alice.user_id), bob=50)) == ["accepted"]
    base = mirror.newest()
    topic = set_state(alice, mirror.room_id, "m.room.topic", {"topic": "tea"})
    ok(alice.post(path(mirror.room_id, "ban"), {"user_id": BOB}))
    mirror.catch_up()
    before = current_state(mirror.room_id)
    evading = mirror.topic(BOB, "mine", after=base)
    reign = mirror.state(BOB, "m.room.join_rules", {"join_rule": "public"}, after=evading)
    invited = mirror.member(BOB, f"@eve:{OTHER}", "invite", after=reign)
    assert set(mirror.kinds(evading, reign, invited)) == {"soft_failed"}
    send(alice, mirror.room_id, "goes on")
    assert (current_state(mirror.room_id), letters) == (before, [])
    assert current_state(mirror.room_id)[TOPIC] == topic


@pytest.mark.parametrize("version", BOTH)
def test_an_ally_follows_what_was_soft_failed(
    alice: Client, zoe: Client, version: str, letters: list[Any]
) -> None:
    """A member's message refers to the banned user's fork. The ban still holds after the merge."""
    mirror = shared(alice, zoe, version)
    assert mirror.kinds(give_power(mirror, UserId(alice.user_id), bob=50)) == ["accepted"]
    base = mirror.newest()
    ok(alice.post(path(mirror.room_id, "ban"), {"user_id": BOB}))
    mirror.catch_up()
    evading = mirror.topic(BOB, "mine", after=base)
    accomplice = mirror.message(DAVE, "hello", after=evading)
    assert mirror.kinds(evading, accomplice) == ["soft_failed", "accepted"]
    found = current_state(mirror.room_id)
    assert mirror.events[found["m.room.member", BOB]].membership == "ban"
    assert (TOPIC not in found, letters) == (True, [])


@pytest.mark.parametrize("version", BOTH)
def test_a_revocation_is_no_reset(alice: Client, zoe: Client, version: str, letters: list[Any]) -> None:
    """A concurrent ban removes what all our forks agreed on. This raises no alarm."""
    mirror = shared(alice, zoe, version)
    assert mirror.kinds(give_power(mirror, UserId(alice.user_id), bob=90, carol=50)) == ["accepted"]
    base = mirror.newest()
    topic = mirror.topic(CAROL, "mine", after=base)
    assert mirror.kinds(topic) == ["accepted"]
    ban = mirror.member(BOB, CAROL, "ban", after=base)
    assert mirror.kinds(ban) == ["accepted"]
    assert TOPIC not in current_state(mirror.room_id)
    assert letters == []


@pytest.mark.parametrize("version", V2)
def test_an_alarm_for_a_room_comes_once_an_hour(
    alice: Client, zoe: Client, version: str, letters: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = shared(alice, zoe, version)
    pair = {("m.x", ""): (event_of(mirror, JOIN_RULES), None)}
    for _ in range(3):
        resets.tell(RoomId(mirror.room_id), EventId("$event"), pair)
    assert len(letters) == 1
    later = notices.now_ms() + resets.QUIET_MS  # type: ignore[attr-defined]
    monkeypatch.setattr(notices, "now_ms", lambda: later)
    resets.tell(RoomId(mirror.room_id), EventId("$event"), pair)
    assert len(letters) == 2


def test_version_1_goes_by_depth(alice: Client, zoe: Client, letters: list[Any]) -> None:
    """Its algorithm chooses the deepest allowed event, whatever the forks agreed on. This is reported."""
    mirror = shared(alice, zoe, "1")
    set_state(alice, mirror.room_id, "m.room.topic", {"topic": "old"})
    mirror.catch_up()
    old = event_of(mirror, TOPIC)
    new = set_state(alice, mirror.room_id, "m.room.topic", {"topic": "new"})
    mirror.catch_up()
    come_after_gap(mirror, BOB, {TOPIC: old})
    assert (current_state(mirror.room_id)[TOPIC], letters) == (new, [])
