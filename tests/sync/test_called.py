"""A client that was called gets the news with the next mark: one request, and nothing is missed by it."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from local_cloud.aws.sqs import Sqs
from local_cloud.permissions import acting_for
from murmuration.settings import settings
from murmuration.storage.live import wake_queues
from murmuration.sync import account, engine, first_look, marks, waiting
from tests.in_process import Client, segment
from tests.rooms.people import V3, ok, send
from tests.sync.client import Syncing, bodies_of, has_nothing
from tests.sync.test_waiting import LONG, Make, registrations, room, tell, until

__all__ = ["room"]
pytestmark = pytest.mark.usefixtures("sqs", "parked")


def test_who_was_called_gets_the_news_with_the_next_mark(room: tuple[Client, Client, str, Syncing]) -> None:
    alice, bob, room_id, syncing = room
    for number in range(waiting.SLOTS):
        marked = syncing.since or ""
        if not marked.startswith("p_"):
            marked = syncing.sync(timeout=LONG)["next_batch"]
        (before,) = registrations(bob)
        send(alice, room_id, f"news {number}")
        tell(room_id)
        answer = ok(bob.get(f"{V3}/sync", since=marks.called(marked), timeout=LONG))
        assert bodies_of(answer, room_id) == [f"news {number}"]
        syncing.since = answer["next_batch"]
        if number + 1 < waiting.SLOTS:
            assert answer["next_batch"].startswith("p_")
            (wait,) = registrations(bob)
            assert wait.slot == answer["next_batch"].split(".")[1] != before.slot
    assert answer["next_batch"].startswith("s_"), "all slots rest"


def test_who_was_called_for_nothing_waits_on_after_one_look(
    room: tuple[Client, Client, str, Syncing], sqs: Sqs
) -> None:
    """Their queue may have been gone; the next one is there."""
    _, bob, room_id, syncing = room
    marked = syncing.peek(timeout=LONG)["next_batch"]
    tell(room_id)
    sqs._queues.clear()
    with mock.patch.object(engine, "assemble", side_effect=engine.assemble) as looks:
        answer = ok(bob.get(f"{V3}/sync", since=marks.called(marked), timeout=LONG))
    assert has_nothing(answer)
    assert looks.call_count == 1
    assert list(sqs._queues) == [settings().queue(wake_queues.prefix() + answer["next_batch"].split(".")[2])]


@pytest.mark.parametrize("change", ["membership", "account data", "to-device"])
def test_a_change_while_the_registration_is_on_its_way(
    change: str, room: tuple[Client, Client, str, Syncing], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read side by side with it may be older: then the client comes again at once."""
    alice, bob, room_id, syncing = room
    marked = syncing.sync(timeout=LONG)["next_batch"]
    send(alice, room_id, "news")
    register_next = waiting.register_next

    def late(*arguments: Any) -> Any:
        until(lambda: looked)
        with acting_for(None):
            if change == "membership":
                ok(alice.post(f"{V3}/createRoom", {"invite": [bob.user_id]}))
            elif change == "account data":
                ok(bob.put(f"{V3}/user/{segment(bob.user_id)}/account_data/x", {"a": 1}))
            else:
                content = {"messages": {bob.user_id: {"*": {"a": 1}}}}
                ok(alice.put(f"{V3}/sendToDevice/x/{change}", content))
        return register_next(*arguments)

    looked: list[Any] = []

    def look(*arguments: Any, **named: Any) -> Any:
        first = first_look.look(*arguments, **named)
        looked.append(first)
        return first

    monkeypatch.setattr(waiting, "register_next", late)
    monkeypatch.setattr(engine, "look", look)
    answer = ok(bob.get(f"{V3}/sync", since=marks.called(marked), timeout=LONG))
    assert bodies_of(answer, room_id) == ["news"]
    assert answer["next_batch"].startswith("s_")
    assert len(registrations(bob)) == 1, "that of the mark, which nobody has rung"
    monkeypatch.undo()
    then = ok(bob.get(f"{V3}/sync", since=answer["next_batch"]))
    assert set(then) & {"rooms", "account_data", "to_device"}


def test_a_change_between_the_registration_and_the_look_of_one_who_was_called(
    room: tuple[Client, Client, str, Syncing], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, room_id, syncing = room
    marked = syncing.sync(timeout=LONG)["next_batch"]
    send(alice, room_id, "first")
    tell(room_id)
    is_unchanged = first_look.is_unchanged

    def late(first: first_look.FirstLook) -> bool:
        found = is_unchanged(first)
        send(alice, room_id, "second")
        tell(room_id)
        return found

    monkeypatch.setattr(engine, "is_unchanged", late)
    answer = ok(bob.get(f"{V3}/sync", since=marks.called(marked), timeout=LONG))
    monkeypatch.undo()
    shown = bodies_of(answer, room_id)
    assert shown in (["first"], ["first", "second"])
    mark = answer["next_batch"]
    assert mark.startswith("p_")
    assert registrations(bob) == [], "the ring is in its queue"
    then = ok(bob.get(f"{V3}/sync", since=marks.called(mark), timeout=LONG))
    assert shown + bodies_of(then, room_id) == ["first", "second"]


def test_an_answer_that_leaves_something_out_brings_no_mark(
    room: tuple[Client, Client, str, Syncing], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, _, syncing = room
    marked = syncing.sync(timeout=LONG)["next_batch"]
    content = {"messages": {bob.user_id: {"*": {"a": 1}}}}
    for number in range(3):
        ok(alice.put(f"{V3}/sendToDevice/x/{number}", content))
    monkeypatch.setattr(account, "MESSAGES_PER_SYNC", 2)
    (before,) = registrations(bob)
    answer = ok(bob.get(f"{V3}/sync", since=marks.called(marked), timeout=LONG))
    assert len(answer["to_device"]["events"]) == 2
    assert answer["next_batch"].startswith("s_")
    assert registrations(bob) == [before]


def test_who_shows_no_place_of_theirs_is_not_registered_beforehand(
    room: tuple[Client, Client, str, Syncing], make_client: Make
) -> None:
    alice, bob, room_id, syncing = room
    marked = syncing.sync(timeout=LONG)["next_batch"]
    _, slot, queue = marks.called(marked).split(".")
    row = marked.partition(".")[0].removeprefix("p_")
    made_up = [f"c_{row}", f"c_{row}.{slot}.{'0' * 32}", f"c_{row}.p7.{queue}"]
    (before,) = registrations(bob)
    for since in made_up:
        send(alice, room_id, "news")
        answer = ok(bob.get(f"{V3}/sync", since=since, timeout=LONG))
        assert answer["next_batch"].startswith("s_")
        assert registrations(bob) == [before]


def test_a_device_that_is_gone_leaves_no_registration(room: tuple[Client, Client, str, Syncing]) -> None:
    _, bob, _, syncing = room
    call = marks.called(syncing.sync(timeout=LONG)["next_batch"])
    ok(bob.post(f"{V3}/logout"))
    before = registrations(bob)
    assert bob.get(f"{V3}/sync", since=call, timeout=LONG).status == 401
    assert registrations(bob) == before
