"""A called client looks at the rooms that rang, and misses nothing of the others."""

from __future__ import annotations

import time
from typing import Any

import pytest

from local_cloud.permissions import acting_for
from murmuration.aws import dynamodb
from murmuration.delivery import wakes
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.storage.live import listeners, streams, wake_queues
from murmuration.storage.live.compact import leftovers
from murmuration.storage.rooms import room_items
from murmuration.sync import marks, narrow_look
from tests.in_process import segment
from tests.logged_in import log_in
from tests.rooms.people import V3, create_room, join, ok, path, send
from tests.sync.client import Syncing, bodies_of
from tests.sync.test_waiting import LONG, Make, registrations, tell

pytestmark = pytest.mark.usefixtures("sqs", "parked")


class Stage:
    """Alice and Bob in two rooms, and Bob parked, so that what is told of rings him."""

    def __init__(self, make_client: Make) -> None:
        self.alice, self.bob = make_client("alice"), make_client("bob")
        self.rooms = [create_room(self.alice, preset="public_chat") for _ in range(2)]
        for room_id in self.rooms:
            join(self.bob, room_id)
        syncing = Syncing(self.bob)
        syncing.sync()
        self.mark = syncing.peek(timeout=LONG)["next_batch"]

    def say(self, room_id: str, text: str) -> None:
        with acting_for(None):
            send(self.alice, room_id, text)

    def say_and_tell(self, room_id: RoomId, text: str) -> None:
        self.say(room_id, text)
        tell(room_id)

    def called(self) -> Any:
        """Return the answer that Bob gets when he is called."""
        with acting_for(None):
            answer = ok(self.bob.get(f"{V3}/sync", since=marks.called(self.mark), timeout=LONG))
        self.mark = answer["next_batch"]
        return answer

    def shown(self) -> list[list[str]]:
        """Return what is new in each room when Bob is called."""
        answer = self.called()
        return [bodies_of(answer, room_id) for room_id in self.rooms]

    @property
    def is_rung(self) -> bool:
        """Whether the device's last registration has been rung."""
        (item,) = listeners.read_items([UserId(self.bob.user_id)])
        return any(wait.is_last for wait in listeners.current_waits([item]) if wait.rung)


@pytest.fixture
def stage(make_client: Make) -> Stage:
    return Stage(make_client)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the rooms of each narrow look."""
    looks: list[list[str]] = []
    look_at_rooms = narrow_look.look_at_rooms

    def looking(*arguments: Any) -> Any:
        found = look_at_rooms(*arguments)
        if found is not None:
            looks.append(list(arguments[2]))
        return found

    monkeypatch.setattr(narrow_look, "look_at_rooms", looking)
    return looks


def test_the_room_that_rang_is_looked_at_and_no_other(stage: Stage, narrow: list[list[str]]) -> None:
    first, second = stage.rooms
    stage.say_and_tell(RoomId(first), "told")
    stage.say(second, "not told of yet")
    assert stage.shown() == [["told"], []]
    assert narrow == [[first]]
    tell(RoomId(second))
    assert stage.is_rung
    assert stage.shown() == [[], ["not told of yet"]]


def test_what_comes_after_the_ring_is_noted_for_the_client(stage: Stage, narrow: list[list[str]]) -> None:
    first, second = stage.rooms
    for room_id in (first, second, first):
        stage.say_and_tell(RoomId(room_id), "news")
    assert stage.shown() == [["news", "news"], ["news"]]
    assert narrow == [sorted(stage.rooms)]


@pytest.mark.parametrize("is_noted", [True, False])
def test_who_registers_anew_before_a_ring_is_noted(
    is_noted: bool, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that another worker's record called is rung once more; otherwise it has looked at
    everything.
    """
    first, second = stage.rooms
    ring, shown = wake_queues.ring, []

    def ringing(*arguments: Any, **named: Any) -> None:
        ring(*arguments, **named)
        monkeypatch.setattr(wake_queues, "ring", ring)
        if is_noted:
            stage.say_and_tell(RoomId(first), "noted")
        shown.extend(stage.shown())

    stage.say(second, "news")
    monkeypatch.setattr(wake_queues, "ring", ringing)
    tell(RoomId(second))
    if is_noted:
        assert shown == [["noted"], []]
        assert stage.is_rung
        assert stage.shown() == [[], ["news"]]
    else:
        assert shown == [[], ["news"]]
        assert not stage.is_rung
        assert [wait.is_last for wait in registrations(stage.bob)] == [True], "the old one rings no more"


def test_who_registers_anew_while_further_news_are_noted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = stage.rooms
    note_news, shown = listeners.note_news, []

    def noting(*arguments: Any) -> bool:
        monkeypatch.setattr(listeners, "note_news", note_news)
        shown.extend(stage.shown())
        return note_news(*arguments)

    stage.say_and_tell(RoomId(first), "news")
    stage.say(second, "more")
    monkeypatch.setattr(listeners, "note_news", noting)
    tell(RoomId(second))
    assert shown == [["news"], []]
    assert stage.is_rung
    assert stage.shown() == [[], ["more"]]


def test_a_repeated_call_looks_at_everything(stage: Stage, narrow: list[list[str]]) -> None:
    """The answer was lost, and its rings aren't recorded any more."""
    first, second = stage.rooms
    stage.say_and_tell(RoomId(first), "news")
    before = stage.mark
    assert stage.shown() == [["news"], []]
    stage.say_and_tell(RoomId(second), "more")
    stage.mark = before
    assert stage.shown() == [["news"], ["more"]]
    assert narrow == [[first]]


@pytest.mark.parametrize("change", ["account data", "to-device", "invite", "leave"])
def test_what_concerns_more_than_a_room_has_everything_looked_at(
    change: str, stage: Stage, narrow: list[list[str]]
) -> None:
    first, second = stage.rooms
    bob = stage.bob
    stage.say_and_tell(RoomId(first), "news")
    stream = ""
    if change == "account data":
        ok(bob.put(f"{V3}/user/{segment(bob.user_id)}/account_data/x", {"a": 1}))
        stream = streams.user_stream(UserId(bob.user_id))
    elif change == "to-device":
        ok(stage.alice.put(f"{V3}/sendToDevice/x/1", {"messages": {bob.user_id: {"*": {"a": 1}}}}))
        stream = streams.device_stream(UserId(bob.user_id), DeviceId(bob.device_id))
    elif change == "invite":
        invited = ok(stage.alice.post(f"{V3}/createRoom", {"invite": [bob.user_id]}))["room_id"]
        tell_of_newest(invited)
    else:
        ok(log_in(UserId(bob.user_id), DeviceId("TABLET")).post(path(second, "leave")))
        tell_of_newest(RoomId(second))
    if stream:
        head = streams.read_head(stream)
        wakes.wake_for_stream_items(streams.read_after(stream, head - 1))
    answer = stage.called()
    assert bodies_of(answer, first) == ["news"]
    assert narrow == []
    expected = {"account data": "account_data", "to-device": "to_device"}.get(change)
    assert expected in answer if expected else answer["rooms"][change]


def tell_of_newest(room_id: RoomId) -> None:
    """Do what the Streams worker does after a room's newest event."""
    head = room_items.read_head(room_id)
    assert head is not None
    item = dynamodb.get("room-log", {"room_id": room_id, "ordinal": head.ordinal})
    assert item is not None
    wakes.wake_for_log_entries([item])


def test_everything_is_looked_at_from_time_to_time(
    stage: Stage, narrow: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that don't ring come then."""
    first, second = stage.rooms
    monkeypatch.setattr(narrow_look, "EVERYTHING_S", 0)
    stage.say_and_tell(RoomId(first), "news")
    stage.say(second, "rang nobody")
    assert stage.shown() == [["news"], ["rang nobody"]]
    assert narrow == []


def test_what_time_has_changed_is_looked_at(
    stage: Stage, narrow: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this test, somebody's typing in another room ends."""
    first, second = stage.rooms
    typing = path(second, "typing", stage.alice.user_id)
    ok(stage.alice.put(typing, {"typing": True, "timeout": 5_000}))
    stream = streams.room_stream(RoomId(second))
    wakes.wake_for_stream_items(streams.read_after(stream, 0))
    typed = stage.called()["rooms"]["join"][second]["ephemeral"]["events"]
    assert typed[0]["content"] == {"user_ids": [stage.alice.user_id]}
    stage.say_and_tell(RoomId(first), "news")
    real_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + 5_001_000_000)
    answer = stage.called()
    assert bodies_of(answer, first) == ["news"]
    assert answer["rooms"]["join"][second]["ephemeral"]["events"][0]["content"] == {"user_ids": []}
    assert narrow == [[second]]


def test_rings_of_too_many_rooms_are_recorded_as_everything(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "MOST_TOPICS", 1)
    for room_id in stage.rooms:
        stage.say_and_tell(RoomId(room_id), "news")
    (item,) = listeners.read_items([UserId(stage.bob.user_id)])
    (wait,) = (wait for wait in listeners.current_waits([item]) if wait.rung)
    assert listeners.EVERYTHING in wait.news
    assert stage.shown() == [["news"], ["news"]]


def test_a_late_ring_tells_its_rooms(stage: Stage, narrow: list[list[str]]) -> None:
    first, _ = stage.rooms
    send(stage.alice, first, "before")
    wakes.wake(
        {},
        late={(UserId(stage.bob.user_id), DeviceId("")): None},
        news={(UserId(stage.bob.user_id), DeviceId("")): [first]},
    )
    assert stage.shown() == [["before"], []]
    assert narrow == [[first]]


def test_what_a_device_that_is_gone_left_is_taken_away(stage: Stage) -> None:
    tablet = log_in(UserId(stage.bob.user_id), DeviceId("TABLET"))
    theirs = Syncing(tablet)
    theirs.sync()
    theirs.sync(timeout=LONG)
    (item,) = listeners.read_items([UserId(stage.bob.user_id)])
    mine = listeners.taken_slots(item, DeviceId("TABLET"))
    assert list(mine) == ["p0"]
    gone = {name: value for name, value in item.items() if name != "w#p0#TABLET"}
    assert leftovers.traces_of(item) == []
    assert leftovers.traces_of(gone) == ["l#TABLET"]
