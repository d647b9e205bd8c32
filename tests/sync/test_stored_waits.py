"""The stored form of waits keeps a user's item small, and older forms are still understood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from local_cloud.names import QUEUE_URLS
from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Attributes
from murmuration.clock import now_ms
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.settings import settings
from murmuration.storage.live import listeners, wake_queues
from murmuration.storage.live.compact import leftovers
from murmuration.sync import marks
from tests.budgets.meter import Meter
from tests.logged_in import log_in
from tests.rooms.people import V3, ok
from tests.sync.client import Syncing
from tests.sync.test_narrow_look import Stage, stage
from tests.sync.test_waiting import LONG, Make, registrations, tell

__all__ = ["stage"]
pytestmark = pytest.mark.usefixtures("sqs", "parked")


def test_a_wait_of_before_is_understood(stage: Stage) -> None:
    """An old wait is a map. Newer ones are lists."""
    first, _ = stage.rooms
    (wait,) = registrations(stage.bob)
    value: Attributes = {"queue": wait.queue, "nonce": wait.nonce, "until": wait.until, "kept": True}
    key, named = {"user_id": stage.bob.user_id}, {"#wait": wait.attribute}
    change = "SET #wait = :wait"
    dynamodb.execute(dynamodb.update("listeners", key, change, names=named, values={":wait": value}))
    (before,) = registrations(stage.bob)
    assert before == wait
    assert not listeners.register(wait, None)[0], "its slot is taken"
    stage.say_and_tell(RoomId(first), "news")
    assert registrations(stage.bob) == []
    assert stage.shown() == [["news"], []]


@pytest.fixture
def written_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use this release's code with the forms of the previous release, as during an upgrade."""
    monkeypatch.setenv("MURMURATION_STORED_FORMS", "before")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.usefixtures("written_as_before")
def test_waits_are_written_as_before_while_functions_of_before_read_them(stage: Stage) -> None:
    """Each change to a wait leaves a map with the attributes that the previous release knew."""
    first, second = stage.rooms

    def stored() -> list[Any]:
        (item,) = listeners.read_items([UserId(stage.bob.user_id)])
        return [value for name, value in item.items() if name.startswith("w#")]

    stage.say_and_tell(RoomId(first), "news")
    assert stage.shown() == [["news"], []]
    rung, waiting = sorted(stored(), key=lambda value: "rung" not in value)
    assert rung.keys() == {"queue", "nonce", "until", "kept", "rung"}
    assert waiting.keys() == {"queue", "nonce", "until", "kept"}
    assert isinstance(waiting["queue"], str)
    (wait,) = registrations(stage.bob)
    at_s = now_ms() // 1000 + 15
    assert listeners.note_late(wait, at_s, [first])
    assert [value["late"] for value in stored() if value["nonce"] == wait.nonce] == [at_s]
    assert [each.late for each in registrations(stage.bob)] == [True]
    stage.say_and_tell(RoomId(second), "more")
    assert stage.shown() == [[], ["more"]]


def test_what_ended_is_taken_out_by_the_next_ring(
    stage: Stage, make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = stage.rooms
    bob, ended = stage.bob, now_ms() // 1000 - leftovers.OVER_S - 1
    old = [
        listeners.Wait(UserId(bob.user_id), DeviceId("TABLET"), f"p{number}", "q", "n", ended)
        for number in range(3)
    ]
    for wait in old:
        assert listeners.register(wait, None)[0]
    stage.say_and_tell(RoomId(first), "news")
    (item,) = listeners.read_items([UserId(bob.user_id)])
    assert sorted(name for name in item if name.startswith("w#")) == [f"w#p0#{bob.device_id}"]
    assert stage.is_rung


def test_what_was_registered_anew_is_not_taken_out(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = stage.rooms
    bob, now = stage.bob, now_ms() // 1000
    old = listeners.Wait(
        UserId(bob.user_id), DeviceId("TABLET"), "p0", "https://q/q", "old", now - leftovers.OVER_S - 1
    )
    new = listeners.Wait(UserId(bob.user_id), DeviceId("TABLET"), "p0", "https://q/q", "new", now + 60)
    assert listeners.register(old, None)[0]
    ring = wake_queues.ring

    def ringing(*arguments: Any, **named: Any) -> None:
        ring(*arguments, **named)
        assert listeners.register(new, None)[0]

    stage.say(first, "news")
    monkeypatch.setattr(wake_queues, "ring", ringing)
    tell(RoomId(first))
    assert [wait.nonce for wait in registrations(bob)] == ["new"]
    assert stage.is_rung


@pytest.fixture
def known_urls(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Yield a deployment that knows the URLs of its queues."""
    monkeypatch.setenv("MURMURATION_QUEUE_URLS", QUEUE_URLS)
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.usefixtures("known_urls")
def test_the_item_of_three_devices_costs_one_unit(make_client: Make) -> None:
    """Each device was called twice a moment ago."""
    stage = Stage(make_client)
    devices = [
        stage.bob,
        *(
            log_in(UserId(stage.bob.user_id), name)
            for name in (DeviceId("SECONDDEV1"), DeviceId("THIRDDEV12"))
        ),
    ]
    parked = {}
    for device in devices:
        syncing = Syncing(device)
        syncing.sync()
        parked[device.device_id] = syncing.peek(timeout=LONG)["next_batch"]
    for number in range(2):
        stage.say_and_tell(RoomId(stage.rooms[0]), f"news {number}")
        for device in devices:
            called = marks.called(parked[device.device_id])
            answer = ok(device.get(f"{V3}/sync", since=called, timeout=LONG))
            parked[device.device_id] = answer["next_batch"]
    stage.say(stage.rooms[0], "more")
    with Meter() as meter:
        tell(RoomId(stage.rooms[0]))
    assert registrations(stage.bob) == []
    (item,) = listeners.read_items([UserId(stage.bob.user_id)])
    assert len([name for name in item if name.startswith("w#")]) >= 3 * len(devices)
    assert meter.spent.write_units == 1, "all three were rung and settled together"


def test_one_of_two_devices_registers_anew_while_both_are_rung(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then each is settled separately."""
    first, _ = stage.rooms
    tablet = log_in(UserId(stage.bob.user_id), DeviceId("TABLET"))
    syncing = Syncing(tablet)
    syncing.sync()
    syncing.peek(timeout=LONG)
    ring = wake_queues.ring
    shown: list[list[str]] = []

    def ringing(*arguments: Any, **named: Any) -> None:
        ring(*arguments, **named)
        if not shown:
            shown.extend(stage.shown())

    stage.say(first, "news")
    monkeypatch.setattr(wake_queues, "ring", ringing)
    tell(RoomId(first))
    assert shown == [["news"], []]
    (item,) = listeners.read_items([UserId(stage.bob.user_id)])
    assert "TABLET" in {wait.device_id for wait in listeners.current_waits([item]) if wait.rung}
    assert not any(wait.device_id == "TABLET" for wait in registrations(stage.bob))
