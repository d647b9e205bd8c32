"""Which messages a purge deletes, and which of their data remain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.aws import dynamodb
from murmuration.aws.reads import fetch
from murmuration.clock import DAY_MS, now_ms
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.rooms.lifecycle import collection, retention
from murmuration.rooms.lifecycle.lifetimes import Limits, lifetime_of
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage import retention as storage
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import RoomHead
from tests.in_process import Client
from tests.rooms.people import (
    V1,
    V3,
    bodies,
    create_room,
    event_ids,
    join,
    messages,
    ok,
    path,
    redact,
    refused,
    relate,
    send,
    set_state,
)


@pytest.fixture(autouse=True)
def _on(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MURMURATION_RETENTION", "on")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let days pass for the purge."""

    def let_pass(days: float) -> None:
        monkeypatch.setattr(retention, "now_ms", lambda: now_ms() + int(days * DAY_MS))

    return let_pass


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the purge handle only these rooms, since scanning all other tests' rooms takes too long."""

    def go_through(*room_ids: RoomId) -> None:
        def read(after: RoomId | None) -> tuple[list[RoomHead], RoomId | None]:
            return ([] if after else list(room_items.read_heads(room_ids).values())), None

        monkeypatch.setattr(storage, "read_heads", read)

    return go_through


def room_of(client: Client, days: float | None = 7, **body: Any) -> RoomId:
    room_id = RoomId(create_room(client, **body))
    if days is not None:
        set_state(client, room_id, "m.room.retention", {"max_lifetime": int(days * DAY_MS)})
    return room_id


def purge(room_id: RoomId) -> int:
    return retention.purge_room(Room.load(room_id), 2**60)


def log_of(room_id: RoomId) -> list[room_items.LogEntry]:
    room = Room.load(room_id)
    return room_items.read_log(room_id, room.version)


class TestWhatGoes:
    def test_old_messages_but_the_newest(self, alice: Client, later: Any) -> None:
        room_id = room_of(alice)
        gone = [send(alice, room_id, text) for text in ("one", "two", "three")]
        newest = send(alice, room_id, "four")
        before = event_ids(ok(alice.get(path(room_id, "state"))))
        assert purge(room_id) == 0
        later(8)
        assert purge(room_id) == 3
        assert purge(room_id) == 0
        assert bodies(messages(alice, room_id, limit=100)["chunk"]) == ["four"]
        assert event_ids(ok(alice.get(path(room_id, "state")))) == before
        for event_id in gone:
            refused(alice.get(path(room_id, "event", event_id)), 404, "M_NOT_FOUND")
            refused(alice.get(path(room_id, "context", event_id)), 404, "M_NOT_FOUND")
        assert ok(alice.get(path(room_id, "event", newest)))["content"]["body"] == "four"

    def test_the_room_goes_on(self, alice: Client, bob: Client, later: Any) -> None:
        room_id = room_of(alice, preset="public_chat")
        for number in range(3):
            send(alice, room_id, f"m{number}")
        later(8)
        assert purge(room_id) == 2
        join(bob, room_id)
        send(bob, room_id, "hello")
        later(16)
        assert purge(room_id) == 1
        assert bodies(messages(bob, room_id, limit=100)["chunk"]) == ["hello"]
        section = ok(bob.get(f"{V3}/sync"))["rooms"]["join"][room_id]
        assert bodies(section["timeline"]["events"]) == ["hello"]

    def test_what_was_not_old_enough(self, alice: Client, later: Any) -> None:
        room_id = room_of(alice)
        for number in range(3):
            send(alice, room_id, f"m{number}")
        later(6.9)
        assert purge(room_id) == 0
        assert len(bodies(messages(alice, room_id, limit=100)["chunk"])) == 3

    def test_pages(self, alice: Client, later: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "PAGE", 3)
        room_id = room_of(alice)
        for number in range(8):
            send(alice, room_id, f"m{number}")
            if number % 3 == 0:
                set_state(alice, room_id, "m.room.topic", {"topic": str(number)})
        later(8)
        assert purge(room_id) == 7
        assert bodies(messages(alice, room_id, limit=100)["chunk"]) == ["m7"]

    def test_who_asked_for_nothing(self, alice: Client, later: Any) -> None:
        room_id = room_of(alice, None)
        send(alice, room_id, "one")
        send(alice, room_id, "two")
        later(10_000)
        assert purge(room_id) == 0

    def test_events_that_tell_a_time_to_come(
        self, alice: Client, later: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room_id = room_of(alice)
        with monkeypatch.context() as patch:
            patch.setattr("murmuration.rooms.writing.append.now_ms", lambda: now_ms() + 1000 * DAY_MS)
            early = send(alice, room_id, "early")
        later(8)
        assert purge(room_id) == 0
        send(alice, room_id, "one")
        send(alice, room_id, "two")
        assert purge(room_id) == 2
        refused(alice.get(path(room_id, "event", early)), 404, "M_NOT_FOUND")


class TestWhatIsLeft:
    def test_nothing_of_its_content(self, alice: Client, later: Any) -> None:
        room_id = room_of(alice)
        gone = EventId(send(alice, room_id, "a secret" * 100))
        send(alice, room_id, "two")
        later(8)
        before = {entry.event.event_id: entry for entry in log_of(room_id)}
        assert purge(room_id) == 1
        after = {entry.event.event_id: entry for entry in log_of(room_id)}
        assert before.keys() == after.keys()
        left, was = after[gone], before[gone]
        assert (left.event.content, left.purged, left.withheld) == ({}, True, True)
        assert left.state_root == was.state_root
        assert left.event.prev_events == was.event.prev_events
        assert len(left.event.to_json()) < len(was.event.to_json()) / 3

    def test_relations(self, alice: Client, later: Any) -> None:
        room_id = room_of(alice)
        parent = send(alice, room_id, "parent")
        relate(alice, room_id, parent, "m.thread")
        relate(alice, room_id, parent, "m.annotation", event_type="m.reaction", relation={"key": "a"})
        send(alice, room_id, "newest")
        later(8)
        assert purge(room_id) == 3
        prefix = {":room": room_id, ":prefix": "relation#"}
        assert dynamodb.query("rooms", "room_id = :room AND begins_with(sk, :prefix)", prefix) == []
        refused(alice.get(path(room_id, "relations", parent, version=V1)), 404, "M_NOT_FOUND")
        assert ok(alice.get(path(room_id, "threads", version=V1)))["chunk"] == []

    def test_search_finds_nothing_of_it(self, alice: Client, later: Any) -> None:
        room_id = room_of(alice)
        send(alice, room_id, "heron")
        send(alice, room_id, "other")
        later(8)
        purge(room_id)
        asked = {"search_categories": {"room_events": {"search_term": "heron"}}}
        assert ok(alice.post(f"{V3}/search", asked))["search_categories"]["room_events"]["results"] == []

    def test_redacting_what_is_gone(self, alice: Client, later: Any) -> None:
        room_id = room_of(alice)
        gone = send(alice, room_id, "one")
        send(alice, room_id, "two")
        later(8)
        purge(room_id)
        redact(alice, room_id, gone)
        refused(alice.get(path(room_id, "event", gone)), 404, "M_NOT_FOUND")

    @pytest.mark.parametrize("knows", [True, False])
    def test_what_was_fetched_of_the_past_after_a_purge(self, alice: Client, later: Any, knows: bool) -> None:
        """As other servers give it to who scrolls back: below all that was purged. An item of before doesn't
        know where the log began."""
        room_id = room_of(alice)
        for text in ("one", "two", "three"):
            send(alice, room_id, text)
        later(8)
        assert purge(room_id) == 2
        if not knows:
            key = {"room_id": room_id, "sk": storage.PURGED}
            dynamodb.execute(dynamodb.update("rooms", key, "REMOVE oldest"))
        entry = log_of(room_id)[-1]
        for ordinal in (0, -1):
            past = Event(entry.event.pdu, entry.event.room_version, EventId(f"$past{ordinal}{room_id}"))
            filled = replace(entry, ordinal=ordinal, event=past, filled_below=1)
            dynamodb.execute(room_items.log_write(filled))
        head = {"room_id": room_id, "sk": "head"}
        dynamodb.execute(dynamodb.update("rooms", head, "SET oldest = :first", values={":first": -1}))
        assert purge(room_id) == 2
        assert bodies(messages(alice, room_id, limit=100)["chunk"]) == ["three"]
        assert purge(room_id) == 0
        assert fetch(storage.purged_read(room_id)) == storage.Purged(entry.ordinal - 1, -1)

    def test_state_of_the_past(self, alice: Client, later: Any) -> None:
        room_id = room_of(alice)
        send(alice, room_id, "one")
        at = messages(alice, room_id, limit=1)["start"]
        send(alice, room_id, "two")
        later(8)
        purge(room_id)
        assert collection._references(room_id)
        (member,) = ok(alice.get(path(room_id, "members"), at=at))["chunk"]
        assert member["state_key"] == alice.user_id


class TestTheWorker:
    def test_all_rooms(self, alice: Client, later: Any, alone: Any) -> None:
        rooms = [room_of(alice) for _ in range(3)]
        alone(*rooms)
        for room_id in rooms:
            send(alice, room_id, "one")
            send(alice, room_id, "two")
        later(8)
        assert retention.purge_rooms(budget_ms=60_000) >= 3
        for room_id in rooms:
            assert bodies(messages(alice, room_id)["chunk"]) == ["two"]
        assert storage.read_place() is None

    def test_one_without_time_goes_on_next_time(self, alice: Client, later: Any, alone: Any) -> None:
        room_id = room_of(alice)
        alone(room_id)
        send(alice, room_id, "one")
        send(alice, room_id, "two")
        later(8)
        assert retention.purge_rooms(budget_ms=0) == 0
        storage.write_place(RoomId("!zzz:nowhere"))
        retention.purge_rooms(budget_ms=60_000)
        retention.purge_rooms(budget_ms=60_000)
        assert bodies(messages(alice, room_id)["chunk"]) == ["two"]

    def test_off(self, alice: Client, later: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MURMURATION_RETENTION", "off")
        settings.cache_clear()
        room_id = room_of(alice)
        send(alice, room_id, "one")
        send(alice, room_id, "two")
        later(8)
        assert retention.purge_rooms(budget_ms=60_000) == 0
        assert bodies(messages(alice, room_id)["chunk"]) == ["two", "one"]


LIMITS = Limits(default=5, shortest=10, longest=100)


@pytest.mark.parametrize(
    ("content", "lifetime"),
    [
        (None, 5),
        ({}, 5),
        ({"min_lifetime": 20}, 5),
        ({"max_lifetime": None}, 5),
        ({"max_lifetime": 50}, 50),
        ({"max_lifetime": 1}, 10),
        ({"max_lifetime": 1000, "min_lifetime": 1}, 100),
        ({"max_lifetime": 50, "min_lifetime": 51}, 5),
        ({"max_lifetime": "50"}, 5),
        ({"max_lifetime": True}, 5),
        ({"max_lifetime": -1}, 5),
        ({"max_lifetime": 2**53}, 5),
        ({"max_lifetime": 50.0}, 5),
    ],
)
def test_lifetimes(content: Any, lifetime: int) -> None:
    assert lifetime_of(content, LIMITS) == lifetime


@given(st.dictionaries(st.sampled_from(["min_lifetime", "max_lifetime"]), st.integers(0, 2**53 - 1)))
def test_lifetimes_without_limits(content: dict[str, int]) -> None:
    low, high = content.get("min_lifetime", 0), content.get("max_lifetime")
    assert lifetime_of(content, Limits()) == (high if high is not None and low <= high else None)
