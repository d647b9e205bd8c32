"""A client that was called gets the news with the next mark: one request, and nothing is missed by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from local_cloud.aws.sqs import Sqs
from local_cloud.permissions import acting_for
from murmuration.settings import settings
from murmuration.storage.live import wake_queues
from murmuration.sync import account, engine, first_look, marks, narrow_look, waiting
from murmuration.sync.assembly import assembling
from tests.in_process import Client, segment
from tests.rooms.people import V3, ok, send
from tests.sync.client import Syncing, bodies_of, has_nothing
from tests.sync.test_waiting import LONG, Make, registrations, room, tell

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

__all__ = ["room"]
pytestmark = pytest.mark.usefixtures("sqs", "parked")


def test_who_was_called_gets_the_news_with_the_next_mark(
    room: tuple[Client, Client, RoomId, Syncing],
) -> None:
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
            assert wait.slot == answer["next_batch"].split(".")[1][:2] != before.slot
    assert answer["next_batch"].startswith("s_"), "all slots rest"


def test_who_was_called_for_nothing_waits_on_after_one_look(
    room: tuple[Client, Client, RoomId, Syncing], sqs: Sqs
) -> None:
    """Its queue may have been deleted. The next one exists."""
    _, bob, room_id, syncing = room
    marked = syncing.peek(timeout=LONG)["next_batch"]
    tell(room_id)
    sqs._queues.clear()
    with mock.patch.object(engine, "assemble", side_effect=assembling.assemble) as looks:
        answer = ok(bob.get(f"{V3}/sync", since=marks.called(marked), timeout=LONG))
    assert has_nothing(answer)
    assert looks.call_count == 1
    assert list(sqs._queues) == [settings().queue(wake_queues.prefix() + answer["next_batch"].split(".")[2])]


@pytest.mark.parametrize("change", ["membership", "account data", "to-device"])
def test_a_change_while_the_registration_is_on_its_way(
    change: str, room: tuple[Client, Client, str, Syncing], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change comes with the look, which follows the registration."""
    alice, bob, room_id, syncing = room
    marked = syncing.sync(timeout=LONG)["next_batch"]
    send(alice, room_id, "news")
    register_next = waiting.register_next

    def late(*arguments: Any) -> Any:
        with acting_for(None):
            if change == "membership":
                ok(alice.post(f"{V3}/createRoom", {"invite": [bob.user_id]}))
            elif change == "account data":
                ok(bob.put(f"{V3}/user/{segment(bob.user_id)}/account_data/x", {"a": 1}))
            else:
                content = {"messages": {bob.user_id: {"*": {"a": 1}}}}
                ok(alice.put(f"{V3}/sendToDevice/x/{change}", content))
        return register_next(*arguments)

    monkeypatch.setattr(waiting, "register_next", late)
    answer = ok(bob.get(f"{V3}/sync", since=marks.called(marked), timeout=LONG))
    assert bodies_of(answer, room_id) == ["news"]
    assert answer["next_batch"].startswith("p_")
    assert set(answer) & {"account_data", "to_device"} or answer["rooms"]["invite"]


@pytest.mark.parametrize("is_noted", [True, False])
def test_a_change_between_the_registration_and_the_look_of_one_who_was_called(
    is_noted: bool, room: tuple[Client, Client, RoomId, Syncing], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for both kinds of look, since the ring wasn't recorded yet."""
    alice, bob, room_id, syncing = room
    marked = syncing.sync(timeout=LONG)["next_batch"]
    send(alice, room_id, "first")
    if is_noted:
        tell(room_id)
    monkeypatch.setattr(narrow_look, "look_at_rooms", _then(alice, room_id, narrow_look.look_at_rooms))
    monkeypatch.setattr(engine, "look", _then(alice, room_id, first_look.look))
    answer = ok(bob.get(f"{V3}/sync", since=marks.called(marked), timeout=LONG))
    monkeypatch.undo()
    shown = bodies_of(answer, room_id)
    assert shown in (["first"], ["first", "second"])
    mark = answer["next_batch"]
    assert mark.startswith("p_")
    assert not any(wait.is_last for wait in registrations(bob)), "the ring is in its queue"
    then = ok(bob.get(f"{V3}/sync", since=marks.called(mark), timeout=LONG))
    assert shown + bodies_of(then, room_id) == ["first", "second"]


def _then(sender: Client, room_id: RoomId, look: Callable[..., Any]) -> Callable[..., Any]:
    """Return a look that is followed at once by a message and its wake."""

    def looking(*arguments: Any, **named: Any) -> Any:
        found = look(*arguments, **named)
        send(sender, room_id, "second")
        tell(room_id)
        return found

    return looking


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
    assert [each.nonce for each in registrations(bob)] == [before.nonce]


def test_who_shows_no_place_of_theirs_is_not_registered_beforehand(
    room: tuple[Client, Client, str, Syncing], make_client: Make
) -> None:
    alice, bob, room_id, syncing = room
    marked = syncing.sync(timeout=LONG)["next_batch"]
    _, slot, queue = marks.called(marked).split(".")
    row = marked.partition(".")[0].removeprefix("p_")
    made_up = [f"c_{row}", f"c_{row}.{slot}.{'0' * 32}", f"c_{row}.p7{slot[2:]}.{queue}"]
    (before,) = registrations(bob)
    for since in made_up:
        send(alice, room_id, "news")
        answer = ok(bob.get(f"{V3}/sync", since=since, timeout=LONG))
        assert answer["next_batch"].startswith("s_")
        assert [each.nonce for each in registrations(bob)] == [before.nonce]


def test_a_device_that_is_gone_leaves_no_registration(room: tuple[Client, Client, str, Syncing]) -> None:
    _, bob, _, syncing = room
    call = marks.called(syncing.sync(timeout=LONG)["next_batch"])
    ok(bob.post(f"{V3}/logout"))
    (before,) = registrations(bob)
    assert bob.get(f"{V3}/sync", since=call, timeout=LONG).status == 401
    assert [each.nonce for each in registrations(bob)] == [before.nonce]
