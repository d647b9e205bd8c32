"""What reading costs: serial round trips and read units, as DynamoDB counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from murmuration.aws import calls
from murmuration.aws.calls import Answer, Call, Proceed
from murmuration.rooms import room
from murmuration.rooms.reading import visibility
from murmuration.storage.rooms import snapshots
from tests.in_process import Client
from tests.rooms.people import create_room, join, messages, ok, path, relate, send


class Meter:
    """Adds up requests and the units they consume."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, float]] = []

    def count(self, call: Call, proceed: Proceed) -> Answer:
        call.parameters["ReturnConsumedCapacity"] = "TOTAL"
        answer = proceed(call)
        consumed = answer["ConsumedCapacity"]
        parts = consumed if isinstance(consumed, list) else [consumed]
        self.requests.append((call.operation, sum(part["CapacityUnits"] for part in parts)))
        return answer

    @property
    def units(self) -> float:
        return sum(units for _, units in self.requests)


@pytest.fixture
def meter(deployment: None) -> Iterator[Callable[[], Meter]]:
    """Start counting, with empty caches."""
    meters: list[Meter] = []

    def begin() -> Meter:
        meters.append(Meter())
        calls.intercept(meters[-1].count)
        for cache in (snapshots._nodes, room._states, visibility._memberships):
            cache.clear()
        return meters[-1]

    yield begin
    for each in meters:
        calls.release(each.count)


@pytest.fixture
def busy_room(make_client: Callable[..., Client]) -> tuple[Client, Client, str]:
    """Return a room with 30 messages of about 1 KB."""
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    for number in range(30):
        send((alice, bob)[number % 2], room_id, "x" * 500)
    return alice, bob, room_id


def test_page_of_20_events(busy_room: tuple[Client, Client, str], meter: Callable[[], Meter]) -> None:
    alice, bob, room_id = busy_room
    for client in (alice, bob):
        count = meter()
        assert len(messages(client, room_id, limit=20)["chunk"]) == 20
        assert len(count.requests) <= 2
        assert count.units <= 12


def test_page_with_lazily_loaded_members(
    busy_room: tuple[Client, Client, str], meter: Callable[[], Meter]
) -> None:
    alice, _, room_id = busy_room
    count = meter()
    page = messages(alice, room_id, limit=20, filter='{"lazy_load_members":true}')
    assert len(page["state"]) == 2
    assert len(count.requests) <= 3
    assert count.units <= 20


def test_one_thread_on_a_page(busy_room: tuple[Client, Client, str], meter: Callable[[], Meter]) -> None:
    alice, bob, room_id = busy_room
    root = send(alice, room_id, "root")
    for number in range(40):
        relate((alice, bob)[number % 2], room_id, root, "m.thread")
    count = meter()
    event = ok(alice.get(path(room_id, "event", root)))
    assert event["unsigned"]["m.relations"]["m.thread"]["count"] == 40
    assert count.units <= 12


def test_one_piece_of_state(busy_room: tuple[Client, Client, str], meter: Callable[[], Meter]) -> None:
    alice, _, room_id = busy_room
    count = meter()
    ok(alice.get(path(room_id, "state", "m.room.power_levels")))
    assert len(count.requests) == 1
