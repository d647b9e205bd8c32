"""Receiving events of other servers: what becomes of them, of the room, and of what clients are shown."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.federation.inbound.elsewhere import MissingEvents, StateIds
from murmuration.federation.inbound.receiving import receive
from murmuration.federation.inbound.reception import MOST_EXTREMITIES
from murmuration.protocol.errors import InvalidParam, MatrixError, NotFound
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.pdus.signing import InvalidSignature
from murmuration.protocol.room_versions import ROOM_VERSIONS
from murmuration.rooms.room import Room
from murmuration.storage.rooms import event_store, room_items
from tests.budgets.meter import Meter
from tests.in_process import Client
from tests.rooms.other_servers import OTHER, Mirror, current_state, log_ids
from tests.rooms.people import create_room, join, messages, ok, path, send, set_state

Make = Callable[..., Client]
RESOLUTIONS = ("1", "2", "12")
"""Room versions with each algorithm of state resolution."""
BOB, CAROL, EVE = UserId(f"@bob:{OTHER}"), UserId(f"@carol:{OTHER}"), UserId("@eve:third.example")


def open_room(alice: Client, version: str = "12", *, admins: tuple[UserId, ...] = (), **body: Any) -> Mirror:
    """Return a public room of Alice's that Bob has joined from elsewhere."""
    levels = {"users": dict.fromkeys(admins, 100) | ({} if version == "12" else {alice.user_id: 100})}
    room_id = RoomId(
        create_room(
            alice, preset="public_chat", room_version=version, power_level_content_override=levels, **body
        )
    )
    mirror = Mirror(room_id)
    joined = [
        mirror.member(user_id, user_id, "join") for user_id in (BOB, *admins) if user_id != alice.user_id
    ]
    assert mirror.kinds(*dict.fromkeys(joined)) == ["accepted"] * len(joined)
    return mirror


def head(mirror: Mirror) -> room_items.RoomHead:
    return Room.load(RoomId(mirror.room_id)).head


def stored(mirror: Mirror, event: Event) -> event_store.StoredEvent | None:
    return event_store.read([event.event_id], mirror.version, RoomId(mirror.room_id)).get(event.event_id)


@pytest.mark.parametrize("version", list(ROOM_VERSIONS))
def test_fork_in_every_version(alice: Client, version: str) -> None:
    mirror = open_room(alice, version, admins=(BOB,))
    said = mirror.message(BOB, "hello")
    mine = mirror.topic(UserId(alice.user_id), "mine", after=said)
    his = mirror.topic(BOB, "his", after=said, origin_server_ts=mine.origin_server_ts + 5)
    name = mirror.state(BOB, "m.room.name", {"name": "named"}, after=his)
    assert mirror.kinds(said, mine, his, name) == ["accepted"] * 4
    assert set(head(mirror).extremities) == {mine.event_id, name.event_id}
    assert current_state(mirror.room_id) == mirror.resolve([mine.event_id, name.event_id])
    merge = mirror.message(BOB, "both", after=[mine, name])
    assert mirror.kinds(merge) == ["accepted"]
    assert head(mirror).extremities == (merge.event_id,)
    assert current_state(mirror.room_id) == mirror.resolve([merge.event_id])
    send(alice, mirror.room_id, "and ours")
    mirror.catch_up()
    (tip,) = head(mirror).extremities
    assert mirror.events[tip].prev_events == (merge.event_id,)
    assert mirror.kinds(mirror.message(BOB, "again")) == ["accepted"]


def test_local_event_follows_all_newest_ones(alice: Client) -> None:
    mirror = open_room(alice)
    base = mirror.newest()
    forks = [mirror.message(BOB, str(number), after=base) for number in range(10)]
    assert set(mirror.kinds(*forks)) == {"accepted"}
    assert head(mirror).extremities == tuple(event.event_id for event in forks)
    send(alice, mirror.room_id)
    entry = room_items.read_log(RoomId(mirror.room_id), mirror.version)[-1]
    assert entry.event.prev_events == tuple(event.event_id for event in forks)
    assert head(mirror).extremities == (entry.event.event_id,)


def test_many_forks_are_joined_by_dummy_events_that_nobody_is_shown(alice: Client) -> None:
    mirror = open_room(alice)
    base = mirror.newest()
    forks = [mirror.message(BOB, str(number), after=base) for number in range(100)]
    assert set(mirror.kinds(*forks)) == {"accepted"}
    assert len(head(mirror).extremities) <= 10
    dummies = [
        entry
        for entry in room_items.read_log(RoomId(mirror.room_id), mirror.version)
        if entry.event.type == "org.matrix.dummy_event"
    ]
    assert len(dummies) >= 9
    assert all(2 <= len(entry.event.prev_events) <= 10 and entry.withheld for entry in dummies)
    shown = messages(alice, mirror.room_id, limit=250)["chunk"]
    assert not [event for event in shown if event["type"] == "org.matrix.dummy_event"]
    mirror.catch_up()
    said = mirror.message(BOB, "one more", after=forks[0])
    with Meter() as meter:
        assert mirror.kinds(said) == ["accepted"]
    assert meter.spent.read_units < 20, str(meter.spent)


def silenced_room(alice: Client) -> Mirror:
    """Return a room in which no user of this server may send messages."""
    mirror = open_room(alice, "11", admins=(BOB,))
    set_state(alice, mirror.room_id, "m.room.power_levels", {"users": {BOB: 100}, "events_default": 50})
    mirror.catch_up()
    return mirror


def test_no_dummy_event_where_nobody_of_ours_may_send(alice: Client) -> None:
    mirror = silenced_room(alice)
    base = mirror.newest()
    forks = [mirror.message(BOB, str(number), after=base) for number in range(12)]
    assert set(mirror.kinds(*forks)) == {"accepted"}
    assert len(head(mirror).extremities) == 12


def test_forks_with_the_same_state_are_bounded_where_nobody_of_ours_may_send(alice: Client) -> None:
    """The newest ones count. All are shown, and an event after one that doesn't count is accepted."""
    mirror = silenced_room(alice)
    base = mirror.newest()
    topic = mirror.make(BOB, "m.room.topic", {"topic": "forks"}, "", after=base)
    forks = [mirror.message(BOB, str(number), after=base) for number in range(60)]
    assert set(mirror.kinds(topic, *forks)) == {"accepted"}
    newest = [topic, *forks[-(MOST_EXTREMITIES - 1) :]]
    assert head(mirror).extremities == tuple(event.event_id for event in newest)
    shown = [event["event_id"] for event in messages(alice, mirror.room_id, limit=250)["chunk"]]
    assert {event.event_id for event in forks} <= set(shown)
    said = mirror.message(BOB, "one more", after=forks[0])
    with Meter() as meter:
        assert mirror.kinds(said) == ["accepted"]
    assert meter.spent.read_units <= 20, str(meter.spent)
    assert len(head(mirror).extremities) == MOST_EXTREMITIES
    assert topic.event_id in head(mirror).extremities
    assert current_state(mirror.room_id)["m.room.topic", ""] == topic.event_id


def test_forks_with_different_states_are_bounded_and_count_once_they_are_followed(alice: Client) -> None:
    mirror = silenced_room(alice)
    base = mirror.newest()
    forks = [mirror.make(BOB, "org.example.note", {"n": n}, str(n), after=base) for n in range(30)]
    assert set(mirror.kinds(*forks)) == {"accepted"}
    counted = [event.event_id for event in forks[:MOST_EXTREMITIES]]
    assert head(mirror).extremities == tuple(counted)
    notes = {pair[1] for pair in current_state(mirror.room_id) if pair[0] == "org.example.note"}
    assert notes == {str(number) for number in range(MOST_EXTREMITIES)}
    first = mirror.message(BOB, "the first", after=counted)
    last = mirror.message(BOB, "all", after=[first, *forks[MOST_EXTREMITIES:]])
    assert mirror.kinds(first, last) == ["accepted", "accepted"]
    assert head(mirror).extremities == (last.event_id,)
    assert current_state(mirror.room_id) == mirror.state_after[last.event_id]


def test_an_own_event_follows_the_oldest_and_the_newest_of_many(alice: Client) -> None:
    """So no event is left out for ever, however many come meanwhile."""
    mirror = silenced_room(alice)
    base = mirror.newest()
    forks = [mirror.message(BOB, str(number), after=base).event_id for number in range(14)]
    assert set(mirror.kinds(*(mirror.events[event_id] for event_id in forks))) == {"accepted"}
    ok(alice.post(path(mirror.room_id, "leave"), {}))
    entry = room_items.read_log(RoomId(mirror.room_id), mirror.version)[-1]
    assert entry.event.prev_events == (*forks[:5], *forks[-5:])
    assert head(mirror).extremities == (*forks[5:-5], entry.event.event_id)


class TestDropped:
    def test_other_room_or_unknown_room(self, alice: Client) -> None:
        mirror = open_room(alice)
        other = open_room(alice)
        with pytest.raises(InvalidParam):
            receive(RoomId(other.room_id), mirror.message(BOB, "hello").pdu, mirror)
        with pytest.raises(NotFound):
            receive(RoomId("!nowhere:example.org"), mirror.message(BOB, "hello").pdu, mirror)

    def test_second_create_event(self, alice: Client) -> None:
        mirror = open_room(alice, "11")
        pdu = mirror.make(BOB, "m.room.create", {"room_version": "11"}, "", learn=False, prev_events=[])
        with pytest.raises(InvalidParam):
            receive(RoomId(mirror.room_id), pdu.pdu, mirror)

    @pytest.mark.parametrize("pdu", [None, 7, [], {}, {"type": "m.room.message"}, "x"])
    def test_what_is_no_event(self, alice: Client, pdu: Any) -> None:
        mirror = open_room(alice)
        with pytest.raises(MatrixError):
            receive(RoomId(mirror.room_id), pdu, mirror)

    def test_wrong_signature(self, alice: Client) -> None:
        mirror = open_room(alice)
        pdu = copy.deepcopy(mirror.message(BOB, "hello").pdu)
        pdu["signatures"][OTHER]["ed25519:1"] = "A" * 86
        before = head(mirror)
        with pytest.raises(InvalidSignature):
            receive(RoomId(mirror.room_id), pdu, mirror)
        assert head(mirror) == before
        assert mirror.asked == []


def test_wrong_hash_leaves_the_redacted_form(alice: Client) -> None:
    mirror = open_room(alice)
    event = mirror.message(BOB, "true words")
    pdu: Any = copy.deepcopy(event.pdu)
    pdu["content"]["body"] = "put into his mouth"
    assert receive(RoomId(mirror.room_id), pdu, mirror).kind == "accepted"
    entry = room_items.read_log(RoomId(mirror.room_id), mirror.version)[-1]
    assert (entry.event.event_id, entry.event.content) == (event.event_id, {})


class TestRejected:
    def test_is_kept_out_of_everything(self, alice: Client) -> None:
        mirror = open_room(alice)
        before = head(mirror)
        event = mirror.topic(BOB, "not his to set")
        (received,) = mirror.send(event)
        assert received.kind == "rejected"
        assert "power level" in received.reason
        kept = stored(mirror, event)
        assert kept is not None
        assert (kept.kind, kept.state_root, kept.reason) == ("rejected", before.state_root, received.reason)
        assert head(mirror) == before
        shown = messages(alice, mirror.room_id)["chunk"]
        assert event.event_id not in [each["event_id"] for each in shown]
        assert alice.get(path(mirror.room_id, "event", event.event_id)).status == 404

    def test_later_events_pass_over_it(self, alice: Client) -> None:
        mirror = open_room(alice)
        tip = mirror.newest()
        refused = mirror.topic(BOB, "not his to set")
        after = mirror.message(BOB, "after it", after=refused)
        assert mirror.kinds(refused, after) == ["rejected", "accepted"]
        assert head(mirror).extremities == (after.event_id,)
        assert current_state(mirror.room_id) == mirror.resolve(tip)

    def test_authorises_nothing(self, alice: Client) -> None:
        mirror = open_room(alice)
        refused = mirror.state(BOB, "m.room.power_levels", {"users": {BOB: 100}})
        tip = mirror.events[refused.event_id].prev_events
        citing = mirror.make(
            BOB,
            "m.room.message",
            {},
            after=list(tip),
            auth=[refused.event_id, mirror.resolve(tip)["m.room.member", BOB]],
        )
        received = mirror.send(refused, citing)
        assert [it.kind for it in received] == ["rejected", "rejected"]
        assert "rejected" in received[1].reason

    def test_by_the_state_before_though_its_auth_events_allow(self, alice: Client) -> None:
        mirror = open_room(alice)
        joined = mirror.resolve(mirror.newest())["m.room.member", BOB]
        gone = mirror.member(BOB, BOB, "leave")
        create_or_levels = [it for it in gone.auth_events if it != joined]
        late = mirror.message(BOB, "still here", after=gone, auth=[joined, *create_or_levels])
        assert mirror.kinds(gone, late) == ["accepted", "rejected"]


def soft_failed_fork(alice: Client, version: str = "12") -> tuple[Mirror, Event, Event]:
    """Return a ban of Bob, and a topic that he set beside it."""
    mirror = open_room(alice, version, admins=(CAROL,))
    own = {} if mirror.version.privileged_creators else {alice.user_id: 100}
    levels = {"users": {**own, CAROL: 100, BOB: 50}}
    mirror.send(mirror.state(UserId(alice.user_id), "m.room.power_levels", levels))
    base = mirror.newest()
    ban = mirror.member(UserId(alice.user_id), BOB, "ban", after=base)
    return mirror, ban, mirror.topic(BOB, "evaded", after=base)


class TestSoftFailed:
    """The specification's own example: B bans X, who sets the topic from before that (C)."""

    @pytest.mark.parametrize("version", RESOLUTIONS)
    def test_is_not_shown_and_not_followed(self, alice: Client, version: str) -> None:
        mirror, ban, topic = soft_failed_fork(alice, version)
        assert mirror.kinds(ban, topic) == ["accepted", "soft_failed"]
        assert head(mirror).extremities == (ban.event_id,)
        assert log_ids(mirror.room_id)[-1] == ban.event_id
        assert ("m.room.topic", "") not in current_state(mirror.room_id)
        send(alice, mirror.room_id, "after the ban")
        assert room_items.read_log(RoomId(mirror.room_id), mirror.version)[-1].event.prev_events == (
            ban.event_id,
        )

    def test_the_other_way_round_it_is_accepted(self, alice: Client) -> None:
        mirror, ban, topic = soft_failed_fork(alice)
        assert mirror.kinds(topic, ban) == ["accepted", "accepted"]
        assert current_state(mirror.room_id) == mirror.resolve([ban.event_id, topic.event_id])

    @pytest.mark.parametrize("version", RESOLUTIONS)
    def test_takes_part_in_resolution_when_followed(self, alice: Client, version: str) -> None:
        mirror, ban, topic = soft_failed_fork(alice, version)
        merge = mirror.message(CAROL, "saw both", after=[ban, topic])
        assert mirror.kinds(ban, topic, merge) == ["accepted", "soft_failed", "accepted"]
        state = current_state(mirror.room_id)
        assert state == mirror.resolve([merge.event_id])
        # "In the original version of the algorithm C would be in the resolved state."
        assert (("m.room.topic", "") in state) == (mirror.version.state_resolution == "v1")

    def test_one_that_follows_it_alone_takes_over_what_it_followed(self, alice: Client) -> None:
        mirror, _, _ = soft_failed_fork(alice)
        (base,) = head(mirror).extremities
        ban = mirror.member(UserId(alice.user_id), BOB, "ban", after=base)
        late = mirror.message(BOB, "evading", after=base)
        assert mirror.kinds(ban, late) == ["accepted", "soft_failed"]
        on_ban = mirror.message(UserId(alice.user_id), "tip", after=ban)
        assert mirror.kinds(on_ban) == ["accepted"]
        # It follows what was soft-failed only, which follows the base: the tip stays.
        after = mirror.message(CAROL, "after the evading one", after=late)
        assert mirror.kinds(after) == ["accepted"]
        assert set(head(mirror).extremities) == {on_ban.event_id, after.event_id}


class TestMissing:
    def test_auth_events_come_as_outliers_and_become_part_of_the_room(self, alice: Client) -> None:
        mirror = open_room(alice)
        tip = mirror.newest()
        joined = mirror.member(EVE, EVE, "join")
        said = mirror.message(EVE, "hello", after=tip, auth=[*joined.auth_events[:1], joined.event_id])
        # By its auth events it is fine; in the state before it its sender isn't in the room.
        (received,) = mirror.send(said)
        assert received.kind == "rejected"
        assert mirror.asked == ["auth_chain"]
        outlier = stored(mirror, joined)
        assert outlier is not None
        assert (outlier.kind, outlier.is_placed) == ("outlier", False)
        assert mirror.kinds(joined) == ["accepted"]
        assert log_ids(mirror.room_id)[-1] == joined.event_id

    def test_auth_events_that_nobody_has(self, alice: Client) -> None:
        mirror = open_room(alice)
        joined = mirror.member(EVE, EVE, "join")
        mirror.secret.add(joined.event_id)
        said = mirror.message(EVE, "hello", after=list(joined.prev_events), auth=[joined.event_id])
        with pytest.raises(MissingEvents):
            mirror.send(said)
        assert stored(mirror, said) is None

    def test_events_before_are_received_first(self, alice: Client) -> None:
        mirror = open_room(alice)
        chain = [mirror.message(BOB, str(number)) for number in range(5)]
        chain.append(mirror.member(CAROL, CAROL, "join"))
        last = mirror.message(CAROL, "last")
        assert mirror.kinds(last) == ["accepted"]
        assert log_ids(mirror.room_id)[-7:] == [*(event.event_id for event in chain), last.event_id]
        assert head(mirror).extremities == (last.event_id,)
        assert mirror.asked == ["events_between"]

    def test_gap_is_bridged_by_the_state_that_another_server_tells(self, alice: Client) -> None:
        mirror = open_room(alice)
        lost = [mirror.member(EVE, EVE, "join"), mirror.message(EVE, "lost")]
        mirror.hidden.add(lost[1].event_id)
        last = mirror.message(EVE, "found")
        assert mirror.kinds(last) == ["accepted"]
        assert mirror.asked == ["events_between", "state_ids_before"], "all of the state is known"
        assert log_ids(mirror.room_id)[-1] == last.event_id
        tips = head(mirror).extremities
        assert last.event_id in tips
        # What was lost turns up after all: it goes into the log, but isn't among the newest events.
        assert mirror.kinds(*lost) == ["accepted", "accepted"]
        assert lost[1].event_id not in head(mirror).extremities
        assert current_state(mirror.room_id) == mirror.resolve([last.event_id])

    def test_gap_that_nobody_bridges(self, alice: Client) -> None:
        mirror = open_room(alice)
        lost = mirror.message(BOB, "lost")
        last = mirror.message(BOB, "last")
        mirror.hidden.update((lost.event_id, last.event_id))
        with pytest.raises(MissingEvents):
            mirror.send(last)
        mirror.hidden.clear()
        assert mirror.kinds(last) == ["accepted"]

    def test_told_state_of_bad_events_counts_for_nothing(self, alice: Client) -> None:
        mirror = open_room(alice)
        base = mirror.newest()
        lost = mirror.message(BOB, "lost")
        mirror.hidden.add(lost.event_id)
        last = mirror.message(BOB, "last")
        forged = mirror.state(BOB, "m.room.power_levels", {"users": {BOB: 100}}, after=base, learn=False)
        told = mirror.state_ids_before(last)
        assert told is not None
        real = mirror.state_at[last.event_id]["m.room.power_levels", ""]
        poisoned = StateIds([*(it for it in told.state if it != real), forged.event_id], told.auth_chain)
        mirror.state_ids_before = lambda event: poisoned  # type: ignore[method-assign]
        mirror.events[forged.event_id] = forged
        mirror.send(last)
        assert current_state(mirror.room_id) == mirror.resolve(base)


class TestTwice:
    def test_each_kind_stays_what_it_is(self, alice: Client) -> None:
        mirror, ban, topic = soft_failed_fork(alice)
        refused = mirror.topic(EVE, "never joined", after=ban)
        first = mirror.send(ban, topic, refused)
        before = head(mirror)
        assert mirror.send(ban, topic, refused) == first
        assert head(mirror) == before
        assert len(set(log_ids(mirror.room_id))) == before.ordinal

    def test_at_once(self, alice: Client) -> None:
        mirror = open_room(alice)
        events = [mirror.message(BOB, str(number), after=mirror.newest()[:1]) for number in range(4)]
        tip = head(mirror).extremities[0]
        events = [mirror.message(BOB, f"fork {number}", after=tip) for number in range(4)]
        barrier = threading.Barrier(8)

        def one(number: int) -> str:
            barrier.wait()
            return mirror.send(events[number % 4])[0].kind

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(one, range(8))) == {"accepted"}
        ids = log_ids(mirror.room_id)
        assert sorted(ids[-4:]) == sorted(event.event_id for event in events)
        assert set(head(mirror).extremities) == {event.event_id for event in events}

    def test_beside_local_senders(self, alice: Client) -> None:
        mirror = open_room(alice)
        chain = [mirror.message(BOB, str(number)) for number in range(6)]
        with ThreadPoolExecutor(2) as threads:
            theirs = threads.submit(lambda: mirror.kinds(*chain))
            ours = threads.submit(lambda: [send(alice, mirror.room_id, str(number)) for number in range(6)])
            assert set(theirs.result()) == {"accepted"}
            sent = ours.result()
        ids = log_ids(mirror.room_id)
        assert [it for it in ids if it in sent] == sent
        assert [it for it in ids if it in {event.event_id for event in chain}] == [
            it.event_id for it in chain
        ]


def test_two_admins_race(alice: Client, make_client: Make) -> None:
    """Two admins demote each other at the same moment. In every version, all servers get the same result."""
    for version in RESOLUTIONS:
        mirror = open_room(alice, version, admins=(BOB, CAROL))
        base = mirror.newest()
        own = {} if mirror.version.privileged_creators else {alice.user_id: 100}
        by_bob = mirror.state(BOB, "m.room.power_levels", {"users": {**own, BOB: 100, CAROL: 0}}, after=base)
        by_carol = mirror.state(
            CAROL, "m.room.power_levels", {"users": {**own, CAROL: 100, BOB: 0}}, after=base
        )
        kicked = mirror.member(CAROL, BOB, "leave", after=by_carol)
        mirror.send(by_bob, by_carol, kicked)
        accepted = [event_id for event_id in log_ids(mirror.room_id) if event_id in mirror.events]
        tips = head(mirror).extremities
        assert set(tips) <= set(accepted)
        assert current_state(mirror.room_id) == mirror.resolve(tips)


def test_local_membership_follows_the_resolved_state(alice: Client, make_client: Make) -> None:
    mirror = open_room(alice, admins=(BOB,))
    dave = make_client("dave")
    base = mirror.newest()
    join(dave, mirror.room_id)
    mirror.catch_up()
    ban = mirror.member(BOB, dave.user_id, "ban", after=base)
    assert mirror.kinds(ban) == ["accepted"]
    state = current_state(mirror.room_id)
    assert state == mirror.resolve(mirror.newest())
    assert state["m.room.member", dave.user_id] == ban.event_id
    assert (
        dave.put(
            path(mirror.room_id, "send", "m.room.message", "x"), {"msgtype": "m.text", "body": "x"}
        ).status
        == 403
    )
    left = ok(dave.get("/_matrix/client/v3/sync", filter='{"room":{"include_leave":true}}'))["rooms"]["leave"]
    assert mirror.room_id in left
    assert set_state(alice, mirror.room_id, "m.room.topic", {"topic": "x"})
