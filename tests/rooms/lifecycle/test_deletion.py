"""Rooms that all users have left stay readable for a while and are then deleted completely."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local_cloud.permissions import acting_for, module_of
from murmuration.aws import dynamodb
from murmuration.clock import DAY_MS, now_ms
from murmuration.protocol.errors import NotFound
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.lifecycle import deletion
from murmuration.rooms.membership.operations import ban_user
from murmuration.rooms.writing.append import Append, Draft, append
from murmuration.settings import settings
from murmuration.storage.rooms import directory, empty_rooms, event_places, room_items, room_removal
from murmuration.storage.tables import TABLES
from murmuration.storage.users import memberships
from tests.client_v1.people import V1, room, texts
from tests.in_process import Client, segment
from tests.rooms.people import (
    V3,
    bodies,
    create_room,
    invite,
    join,
    leave,
    messages,
    ok,
    path,
    redact,
    refused,
    relate,
    send,
    set_state,
)
from tests.rooms.receiving.test_receiving import soft_failed_fork

Make = Callable[..., Client]
_numbers = itertools.count()


class Clock:
    """The time by which rooms are deleted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = 0
        monkeypatch.setattr("murmuration.rooms.lifecycle.deletion.now_ms", self.now_ms)

    def now_ms(self) -> int:
        return now_ms() + self.offset

    def pass_days(self, days: float) -> None:
        self.offset += int(days * DAY_MS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def run() -> int:
    return deletion.delete_empty_rooms(budget_ms=600_000)


def mark_of(room_id: str) -> empty_rooms.EmptyRoom | None:
    return next((room for room in empty_rooms.read_all() if room.room_id == room_id), None)


def traces(*room_ids: str) -> set[tuple[str, str]]:
    """Return the items, by table and key, that contain anything of the rooms, except items that expire."""
    lasting = [table for table in TABLES if table.ttl is None]
    return {
        (table.name, str([item[name] for name, _ in table.keys]))
        for table in lasting
        for item in dynamodb.scan(table.name, ConsistentRead=True)
        if any(room_id in str(item) or room_id.encode() in item.get("node_id", b"") for room_id in room_ids)
    }


def lively_room(alice: Client, bob: Client) -> str:
    """Return a published room with every kind of item, which both have left."""
    name = f"lively-{alice.user_id[7:].partition(':')[0]}"
    body = {"preset": "public_chat", "visibility": "public", "room_alias_name": name, "name": "Lively"}
    room_id = create_room(alice, **body)
    join(bob, room_id)
    first = send(alice, room_id, "first")
    relate(bob, room_id, first, "m.thread")
    annotation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": first, "key": "x"}}
    redact(bob, room_id, send(bob, room_id, annotation, "m.reaction"))
    ok(bob.post(path(room_id, "receipt", "m.read", first)))
    ok(bob.post(path(room_id, "receipt", "m.read.private", first)))
    ok(bob.put(path(room_id, "typing", bob.user_id), {"typing": True}))
    data = f"{V3}/user/{segment(bob.user_id)}/rooms/{segment(room_id)}"
    ok(bob.put(f"{data}/tags/m.favourite", {}))
    ok(bob.put(f"{data}/account_data/org.example.x", {"y": 1}))
    for number in range(3):
        set_state(alice, room_id, "m.room.topic", {"topic": str(number)})
    leave(bob, room_id)
    leave(alice, room_id)
    return room_id


@pytest.fixture
def left(alice: Client, bob: Client) -> str:
    """Return a room that both have left."""
    return lively_room(alice, bob)


def test_grace_who_left_reads_on(alice: Client, bob: Client, left: RoomId, clock: Clock) -> None:
    clock.pass_days(29)
    run()
    assert "first" in bodies(messages(bob, left)["chunk"])
    assert ok(bob.get(path(left, "state", "m.room.topic")))["topic"] == "2"
    include = '{"room": {"include_leave": true}}'
    assert left in ok(alice.get(f"{V3}/sync", filter=include))["rooms"]["leave"]
    assert directory.is_published(RoomId(left))


def test_nothing_stays(alice: Client, bob: Client, left: RoomId, clock: Clock) -> None:
    version = room_items.read_head(left)
    assert version is not None
    event_ids = [entry.event.event_id for entry in room_items.read_log(left, version.version)]
    tables = {table for table, _ in traces(left)}
    assert tables == {"rooms", "room-log", "events", "snapshots", "streams", "users", "directory"}
    clock.pass_days(31)
    run()
    assert len(traces(left)) > 30
    assert run() == 0, "who had read the head may still be at it"
    clock.pass_days(1)
    assert run() > 30
    assert traces(left) == set()
    assert event_places.locate(event_ids, left) == {}
    assert run() == 0


def test_room_is_as_one_that_nobody_has_heard_of(
    alice: Client, bob: Client, make_client: Make, left: str, clock: Clock
) -> None:
    event_id = messages(bob, left)["chunk"][-1]["event_id"]
    alias = ok(bob.get(path(left, "state", "m.room.canonical_alias")))["alias"]
    since = ok(bob.get(f"{V3}/sync"))["next_batch"]
    unknown = "!never-heard-of:example.org"

    def answers(room_id: str) -> list[tuple[int, str]]:
        tries = [
            bob.get(path(room_id, "messages"), dir="b"),
            bob.get(path(room_id, "state")),
            bob.get(path(room_id, "members")),
            bob.get(path(room_id, "event", event_id)),
            bob.get(path(room_id, "context", event_id)),
            bob.get(path(room_id, "aliases")),
            bob.get(f"{V1}/rooms/{segment(room_id)}/initialSync"),
            bob.get(f"{V3}/rooms/{segment(room_id)}/initialSync"),
            bob.post(path(room_id, "join")),
            bob.post(f"{V3}/join/{segment(room_id)}"),
            bob.post(f"{V3}/knock/{segment(room_id)}"),
            bob.post(path(room_id, "leave")),
            bob.post(path(room_id, "invite"), {"user_id": alice.user_id}),
            bob.put(
                path(room_id, "send", "m.room.message", f"d{next(_numbers)}"),
                {"msgtype": "m.text", "body": "x"},
            ),
            bob.put(path(room_id, "state", "m.room.topic", ""), {"topic": "x"}),
            bob.post(path(room_id, "receipt", "m.read", event_id)),
            bob.put(path(room_id, "typing", bob.user_id), {"typing": True}),
            bob.get(f"{V3}/directory/list/room/{segment(room_id)}"),
            make_client("carol").get(f"/_matrix/client/v1/room_summary/{segment(room_id)}"),
        ]
        return [(answer.status, answer.json.get("errcode")) for answer in tries]

    clock.pass_days(31)
    run()
    expected = answers(unknown)
    assert all(400 <= status < 500 for status, _ in expected)
    for _ in range(2):
        assert answers(left) == expected
        refused(bob.get(f"{V3}/directory/room/{segment(alias)}"), 404, "M_NOT_FOUND")
        refused(bob.get(f"{V1}/events/{segment(event_id)}"), 404, "M_NOT_FOUND")
        refused(bob.get(f"/_matrix/client/v2/events/{segment(event_id)}/context"), 404, "M_NOT_FOUND")
        include = '{"room": {"include_leave": true}}'
        for query in ({"since": since}, {"filter": include}):
            assert "leave" not in ok(bob.get(f"{V3}/sync", **query)).get("rooms", {})
        assert not directory.is_published(RoomId(left))
        clock.pass_days(1)
        run()


def test_version_1_sees_the_same(alice: Client, bob: Client, left: str, clock: Clock) -> None:
    assert "first" in texts(ok(bob.get(room(left, "messages"), dir="b", limit=50))["chunk"])
    clock.pass_days(31)
    run()
    refused(bob.get(room(left, "messages"), dir="b"), 403, "M_FORBIDDEN")
    refused(bob.post(f"{V1}/join/{segment(left)}"), 404, "M_NOT_FOUND")
    found = ok(bob.get(f"{V1}/initialSync"))
    assert left not in [entry["room_id"] for entry in found["rooms"]]
    assert not directory.is_published(RoomId(left))


class TestMarking:
    def test_the_last_leaving_marks(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        leave(alice, room_id)
        assert mark_of(room_id) is None
        before = now_ms()
        leave(bob, room_id)
        mark = mark_of(room_id)
        assert mark is not None
        assert before <= mark.since_ms <= now_ms()

    def test_a_pending_invite_keeps_a_room(self, alice: Client, bob: Client, clock: Clock) -> None:
        room_id = create_room(alice)
        invite(alice, room_id, bob)
        leave(alice, room_id)
        assert mark_of(room_id) is None
        clock.pass_days(100)
        run()
        join(bob, room_id)
        invite(bob, room_id, alice)
        leave(bob, room_id)
        leave(alice, room_id)
        assert mark_of(room_id) is not None, "the invite was turned down"

    def test_who_is_banned_or_knocks_is_not_in_the_room(
        self, alice: Client, bob: Client, make_client: Make, clock: Clock
    ) -> None:
        rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
        room_id = RoomId(create_room(alice, initial_state=[rule]))
        carol = make_client("carol")
        ban_user(UserId(alice.user_id), room_id, UserId(carol.user_id))
        leave(alice, room_id)
        ok(bob.post(f"{V3}/knock/{segment(room_id)}"))
        clock.pass_days(31)
        run()
        clock.pass_days(1)
        run()
        assert traces(room_id) == set()
        assert memberships.read_membership(UserId(carol.user_id), room_id) is None

    def test_a_deactivated_account_leaves_rooms_to_be_deleted(self, alice: Client) -> None:
        from murmuration.federation.membership.leaving import leave_all_rooms

        room_id = create_room(alice)
        leave_all_rooms(UserId(alice.user_id))
        assert mark_of(room_id) is not None

    def test_leaving_takes_no_round_trip_more(self, alice: Client, bob: Client, room_id: str) -> None:
        from tests.budgets.meter import Meter

        spent = []
        for client in (alice, bob):
            with Meter() as meter:
                leave(client, room_id)
            spent.append(meter.spent)
        assert spent[1].round_trips == spent[0].round_trips


class TestComingBack:
    def test_who_comes_back_keeps_the_room(self, alice: Client, bob: Client, left: str, clock: Clock) -> None:
        clock.pass_days(29)
        join(bob, left)
        clock.pass_days(29)
        run()
        assert mark_of(left) is None, "it need not be looked at any more"
        assert "first" in bodies(messages(bob, left)["chunk"])
        assert ok(bob.get(f"{V3}/user/{segment(bob.user_id)}/rooms/{segment(left)}/tags"))["tags"]

    def test_the_grace_period_begins_anew(
        self, alice: Client, bob: Client, left: RoomId, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("murmuration.rooms.writing.changes.now_ms", clock.now_ms)
        clock.pass_days(29)
        join(bob, left)
        clock.pass_days(10)
        leave(bob, left)
        clock.pass_days(29)
        run()
        assert room_items.read_head(left) is not None
        clock.pass_days(2)
        run()
        assert room_items.read_head(left) is None

    def test_a_join_that_read_the_head_before_is_refused(
        self, bob: Client, left: RoomId, clock: Clock
    ) -> None:
        clock.pass_days(31)

        def plan(batch: Append) -> None:
            batch.add(Draft("m.room.member", UserId(bob.user_id), {"membership": "join"}, bob.user_id))
            run()

        with pytest.raises(NotFound):
            append(left, plan)
        clock.pass_days(1)
        run()
        assert traces(left) == set()

    def test_a_deletion_that_read_the_mark_before_a_join_does_nothing(
        self, bob: Client, left: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock.pass_days(31)
        marks = empty_rooms.read_all()
        join(bob, left)
        monkeypatch.setattr(empty_rooms, "read_all", lambda: marks)
        run()
        assert "first" in bodies(messages(bob, left)["chunk"])

    def test_nor_does_it_take_the_mark_of_who_left_meanwhile(
        self, bob: Client, left: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock.pass_days(31)
        marks = empty_rooms.read_all()
        join(bob, left)

        def bury(room: empty_rooms.EmptyRoom, now: int) -> None:
            try:
                genuine(room, now)
            finally:
                if room.room_id == left:
                    leave(bob, left)

        genuine = empty_rooms.bury
        with monkeypatch.context() as patch:
            patch.setattr(empty_rooms, "read_all", lambda: marks)
            patch.setattr(empty_rooms, "bury", bury)
            run()
        mark = mark_of(left)
        assert mark is not None
        assert mark.since_ms > next(one for one in marks if one.room_id == left).since_ms

    def test_joins_beside_deletions(self, make_client: Make, clock: Clock) -> None:
        """Each room is either joined or deleted. A user who could join is in a complete room."""
        alice, *guests = [make_client(f"racer{number}") for number in range(4)]
        gone = []
        for _ in range(8):
            room_id = RoomId(create_room(alice, preset="public_chat"))
            send(alice, room_id, "still here")
            leave(alice, room_id)
            clock.pass_days(31)
            with ThreadPoolExecutor(5) as threads:
                joining = [threads.submit(one.post, path(room_id, "join")) for one in guests]
                burying = [threads.submit(run) for _ in range(2)]
                statuses = {one.result().status for one in joining}
                _ = [one.result() for one in burying]
            assert statuses in ({200}, {404}, {200, 404})
            if 200 in statuses:
                assert statuses == {200}, "once somebody is in it, it isn't deleted"
                assert "still here" in bodies(messages(guests[0], room_id)["chunk"])
            clock.pass_days(1)
            run()
            assert (room_items.read_head(room_id) is None) == (statuses == {404})
            if statuses == {404}:
                gone.append(room_id)
        assert traces(*gone) == set()


class TestStopping:
    def test_halfway(
        self, alice: Client, left: RoomId, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The run stops after some small pages. The next run continues."""
        read_page = dynamodb.query_page

        def small_page(*arguments: Any, **options: Any) -> dynamodb.Page:
            return read_page(*arguments, **options | {"limit": min(options.get("limit") or 5, 5)})

        monkeypatch.setattr(dynamodb, "query_page", small_page)
        clock.pass_days(31)
        run()
        clock.pass_days(1)

        class Stopped(Exception):
            pass

        def stopping_after(count: int) -> Any:
            def wrap(part: room_removal.Part) -> room_removal.Part:
                def removed(room_id: RoomId) -> Iterator[int]:
                    for deleted in part(room_id):
                        yield deleted
                        left_over[0] -= room_id == left  # what other tests left goes as well
                        if left_over[0] <= 0:
                            raise Stopped

                return removed

            left_over = [count]
            return [wrap(part) for part in room_removal.PARTS]

        parts = room_removal.PARTS
        for count in range(1, 100):
            monkeypatch.setattr(room_removal, "PARTS", stopping_after(count % 3 + 1))
            try:
                run()
            except Stopped:
                assert mark_of(left) is not None
                assert room_items.read_head(left) is None
            else:
                break
            finally:
                monkeypatch.setattr(room_removal, "PARTS", parts)
        assert traces(left) == set()

    def test_out_of_time(self, alice: Client, left: RoomId, clock: Clock) -> None:
        clock.pass_days(31)
        assert deletion.delete_empty_rooms(budget_ms=0) == 0
        assert room_items.read_head(left) is not None
        run()
        clock.pass_days(1)
        for _ in range(1000):
            if mark_of(left) is None:
                break
            deletion._remove(left, deadline=0)
        assert traces(left) == set()

    def test_between_tombstone_and_names(
        self, alice: Client, left: RoomId, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock.pass_days(31)
        mark = mark_of(left)
        assert mark is not None
        empty_rooms.bury(mark, clock.now_ms())
        assert directory.is_published(RoomId(left))
        run()
        clock.pass_days(1)
        run()
        assert traces(left) == set()
        assert not directory.is_published(RoomId(left))

    def test_two_at_once(self, alice: Client, bob: Client, clock: Clock) -> None:
        rooms = [lively_room(alice, bob) for _ in range(1)]
        clock.pass_days(31)
        for _ in range(2):
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(lambda _: run(), range(4)))
            clock.pass_days(1)
        assert traces(*rooms) == set()


def test_others_keep_what_is_theirs(alice: Client, bob: Client, left: str, clock: Clock) -> None:
    other = create_room(alice, preset="public_chat")
    join(bob, other)
    send(bob, other, "elsewhere")
    data = f"{V3}/user/{segment(bob.user_id)}/rooms/{segment(other)}"
    ok(bob.put(f"{data}/tags/m.favourite", {}))
    ok(bob.put(f"{V3}/user/{segment(bob.user_id)}/account_data/org.example.z", {"y": 1}))
    before = traces(other)
    clock.pass_days(31)
    run()
    clock.pass_days(1)
    run()
    assert traces(other) == before
    assert ok(bob.get(f"{data}/tags"))["tags"]
    found = ok(bob.get(f"{V3}/sync"))
    assert [event["type"] for event in found["account_data"]["events"] if "example" in event["type"]]
    assert list(found["rooms"]["join"]) == [other]


def test_an_alias_that_went_to_another_room_stays(alice: Client, clock: Clock) -> None:
    name = f"moved-{next(_numbers)}-{alice.user_id[7:].partition(':')[0]}"
    old, new = RoomId(create_room(alice, room_alias_name=name)), create_room(alice)
    alias = f"#{name}:example.org"
    dynamodb.transact(directory.alias_move(alias, old, new)[:1])  # stopped halfway through
    leave(alice, old)
    clock.pass_days(31)
    run()
    found = directory.read_alias(alias)
    assert found is not None
    assert found["room_id"] == new
    assert directory.read_room_aliases(old) == []


def test_events_outside_the_log_go_too(alice: Client, clock: Clock) -> None:
    mirror, ban, topic = soft_failed_fork(alice)
    mirror.send(ban, topic)
    kept = [
        item["event_id"]
        for item in dynamodb.scan(event_places.EVENTS, ConsistentRead=True)
        if item["room_id"] == mirror.room_id and "state_root" in item
    ]
    assert kept
    empty = {":none": 0}
    head = room_items.head_key(RoomId(mirror.room_id))
    dynamodb.execute(
        dynamodb.update(
            room_items.ROOMS, head, "SET local_joined = :none, local_invited = :none", values=empty
        )
    )
    dynamodb.execute(empty_rooms.mark_write(RoomId(mirror.room_id), now_ms()))
    clock.pass_days(31)
    run()
    clock.pass_days(1)
    run()
    assert event_places.locate(kept, RoomId(mirror.room_id)) == {}
    assert traces(mirror.room_id) == set()


def test_a_room_of_a_buried_name_is_not_made_anew(
    alice: Client, left: RoomId, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.pass_days(31)
    head = room_items.read_head(left)
    assert head is not None
    run()
    with pytest.raises(dynamodb.ConditionFailed):
        dynamodb.transact([room_items.head_write(head, None)])


def test_rooms_are_kept_for_ever_where_that_is_set(
    left: RoomId, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MURMURATION_EMPTY_ROOM_DAYS", "0")
    settings.cache_clear()
    try:
        clock.pass_days(36_500)
        assert run() == 0
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert room_items.read_head(left) is not None


def test_schedule(alice: Client, left: RoomId, clock: Clock) -> None:
    """The function runs with its own role."""
    from functions.workers.schedules.delete_empty_rooms import handler

    clock.pass_days(31)
    mine = RoomId(create_room(alice))
    for _ in range(2):
        with acting_for(module_of(handler)):
            handler({"source": "aws.events"}, None)
        assert room_items.read_head(left) is None
        clock.pass_days(1)
    assert traces(left) == set()
    assert room_items.read_head(mine) is not None
