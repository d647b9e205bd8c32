"""Waiting in /sync: no ring is lost, whichever change comes in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from local_cloud.aws.sqs import Sqs
from local_cloud.names import queue_url
from local_cloud.permissions import acting_for
from murmuration.aws import dynamodb
from murmuration.delivery import wakes
from murmuration.identity.tokens import Requester
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.storage.live import listeners, sync_tokens, wake_queues
from murmuration.storage.rooms import room_items
from murmuration.sync import engine, first_look, waiting
from murmuration.sync.assembly import assembling
from murmuration.sync.assembly import rooms as sections
from tests.in_process import Client
from tests.local_cloud.waiting import PATIENCE_S, until
from tests.logged_in import log_in
from tests.rooms.people import V3, create_room, join, ok, path, send
from tests.sync.client import Syncing, bodies_of, has_nothing

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import Storable

Make = Callable[..., Client]
pytestmark = pytest.mark.usefixtures("sqs")
LONG = 20_000
"""A timeout, in milliseconds, that no test waits out."""


def tell(room_id: RoomId) -> None:
    """Do what the Streams worker does after an event of the room."""
    head = room_items.read_head(room_id)
    assert head is not None
    with acting_for(None):  # also where a test has it done in the middle of a sync
        wakes.wake_for_log_entries([{"room_id": room_id, "state_root": head.state_root}])


def registrations(client: Client) -> list[listeners.Wait]:
    return list(listeners.waits_in(listeners.read_items([UserId(client.user_id)])))


def type_until_shown(typist: Client, room_id: str, is_shown: Callable[[], bool]) -> None:
    """Let somebody type for a moment, and for longer if the moment was over before it was shown."""
    for milliseconds in (700, 5_000, 15_000):
        ok(typist.put(path(room_id, "typing", typist.user_id), {"typing": True, "timeout": milliseconds}))
        if is_shown():
            return
    raise AssertionError("nobody was shown typing")


def check_sent_away(answer: Any) -> None:
    """Check that the answer says to come again later, and after what time."""
    assert (answer.status, answer.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert answer.json["retry_after_ms"] >= 1_000
    assert int(answer.headers["Retry-After"]) >= 1


def waits(pool: ThreadPoolExecutor, syncing: Syncing, **query: Any) -> Future[Any]:
    return pool.submit(syncing.peek, **({"timeout": LONG} | query))


@pytest.fixture(params=["just answered", "answered a while ago"])
def room(
    request: pytest.FixtureRequest, make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> tuple[Client, Client, str, Syncing]:
    """Return Alice's room, which Bob is in, and Bob's place in the stream."""
    monkeypatch.setattr(sync_tokens, "FRESH_S", 60 if request.param == "just answered" else -1)
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    syncing = Syncing(bob)
    syncing.sync()
    return alice, bob, room_id, syncing


@pytest.mark.usefixtures("held")
class TestHeld:
    def test_a_ring_ends_the_wait(self, room: tuple[Client, Client, RoomId, Syncing]) -> None:
        alice, bob, room_id, syncing = room
        with ThreadPoolExecutor() as pool:
            answer = waits(pool, syncing)
            until(lambda: registrations(bob))
            send(alice, room_id, "news")
            tell(room_id)
            assert bodies_of(answer.result(PATIENCE_S), room_id) == ["news"]
        assert registrations(bob) == []

    def test_who_was_a_member_at_some_event_of_a_batch_is_rung(
        self, room: tuple[Client, Client, RoomId, Syncing], make_client: Make
    ) -> None:
        alice, bob, room_id, syncing = room
        carol = make_client("carol")
        theirs = Syncing(carol)
        theirs.sync()
        head = room_items.read_head(room_id)
        assert head is not None
        with ThreadPoolExecutor() as pool:
            answers = waits(pool, syncing), waits(pool, theirs)
            until(lambda: registrations(bob) and registrations(carol))
            ok(alice.post(path(room_id, "kick"), {"user_id": bob.user_id}))
            join(carol, room_id)
            send(alice, room_id, "news")
            values: dict[str, Storable] = {":room": room_id, ":after": head.ordinal}
            batch = dynamodb.query("room-log", "room_id = :room AND ordinal > :after", values)
            assert len(batch) == 3
            wakes.wake_for_log_entries(batch)
            kicked, joined = (answer.result(PATIENCE_S) for answer in answers)
        assert room_id in kicked["rooms"]["leave"]
        assert bodies_of(joined, room_id)[-1] == "news"

    def test_nothing_comes_until_the_timeout(self, room: tuple[Client, Client, str, Syncing]) -> None:
        *_, syncing = room
        answer = syncing.peek(timeout=300)
        assert has_nothing(answer)
        assert sync_tokens.parse(answer["next_batch"]) == syncing.since

    def test_all_who_wait_with_one_token_are_told(self, room: tuple[Client, Client, RoomId, Syncing]) -> None:
        alice, bob, room_id, syncing = room
        with ThreadPoolExecutor() as pool:
            tabs = [waits(pool, syncing) for _ in range(5)]
            until(lambda: len(registrations(bob)) == 5)
            send(alice, room_id, "news")
            tell(room_id)
            assert [bodies_of(tab.result(PATIENCE_S), room_id) for tab in tabs] == [["news"]] * 5

    def test_more_tabs_than_slots(
        self, room: tuple[Client, Client, RoomId, Syncing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A request without a free slot is told at once to come again later. It gets news at once."""
        alice, bob, room_id, syncing = room
        monkeypatch.setattr(waiting, "SLOTS", 2)
        with ThreadPoolExecutor() as pool:
            tabs = [waits(pool, syncing) for _ in range(2)]
            until(lambda: len(registrations(bob)) == 2)
            for _ in range(3):
                check_sent_away(bob.get(f"{V3}/sync", since=syncing.since, timeout=LONG))
            assert has_nothing(syncing.peek(timeout=500)), "it doesn't want to wait for long"
            assert len(registrations(bob)) == 2, "those who wait go on waiting"
            send(alice, room_id, "news")
            assert bodies_of(syncing.peek(timeout=LONG), room_id) == ["news"]
            tell(room_id)
            assert [bodies_of(tab.result(PATIENCE_S), room_id) for tab in tabs] == [["news"]] * 2

    def test_many_at_once_hold_as_many_functions_as_there_are_slots(
        self, room: tuple[Client, Client, str, Syncing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, bob, _, syncing = room
        held, others_answered = [], threading.Event()

        def hold(*_: Any) -> waiting.Held:
            held.append(1)
            assert others_answered.wait(PATIENCE_S)
            return waiting.Held(goes_on=False, wait=None, rooms=frozenset())

        monkeypatch.setattr(waiting, "hold", hold)
        answers: list[Any] = []

        def ask(_: int) -> int:
            answer = bob.get(f"{V3}/sync", since=syncing.since, timeout=1_500)
            answers.append(answer)
            if sum(each.status == 429 for each in answers) >= 24 - waiting.SLOTS:
                others_answered.set()
            return answer.status

        with ThreadPoolExecutor(24) as pool:
            statuses = sorted(pool.map(ask, range(24)))
        assert statuses == [200] * waiting.SLOTS + [429] * (24 - waiting.SLOTS)

    def test_all_devices_of_a_user_hold_so_many_functions(
        self, room: tuple[Client, Client, RoomId, Syncing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice, bob, room_id, _ = room
        monkeypatch.setattr(waiting, "HELD_BY_USER", 3)
        devices = [log_in(UserId(bob.user_id), DeviceId(f"DEVICE{number}")) for number in range(4)]
        places = [Syncing(device) for device in devices]
        for place in places:
            place.sync()
        with ThreadPoolExecutor() as pool:
            for place in places[:3]:
                before = len(registrations(bob))
                waits(pool, place)
                until(lambda: len(registrations(bob)) > before)  # noqa: B023 - it's called before the next
            check_sent_away(devices[3].get(f"{V3}/sync", since=places[3].since, timeout=LONG))
            send(alice, room_id, "news")
            tell(room_id)

    def test_the_bound_of_a_user_holds_for_registrations_at_once(
        self, make_client: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """None of them sees the others beforehand. The state after the write decides."""
        monkeypatch.setattr(waiting, "HELD_BY_USER", 3)
        user = UserId(make_client("bob").user_id)

        def register(number: int) -> bool:
            wait = waiting.register(Requester(UserId(user), DeviceId(f"DEVICE{number}")), None, "held", 20)
            return wait is not None

        with ThreadPoolExecutor(10) as pool:
            granted = sum(pool.map(register, range(10)))
        assert 1 <= granted <= 3
        (item,) = listeners.read_items([user])
        assert listeners.held_waits(item) == granted

    def test_only_the_room_that_rang_is_looked_at(
        self, room: tuple[Client, Client, RoomId, Syncing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next request looks at the other room as soon as that rings."""
        alice, bob, room_id, syncing = room
        other = create_room(alice, preset="public_chat")
        join(bob, other)
        syncing.sync()
        looks, holds = mock.Mock(wraps=first_look.look), mock.Mock(wraps=waiting.hold)
        monkeypatch.setattr(engine, "look", looks)
        monkeypatch.setattr(waiting, "hold", holds)
        with ThreadPoolExecutor() as pool:
            answer = waits(pool, syncing)
            until(lambda: holds.call_count == 2)  # the first finds no queue and makes it
            before = looks.call_count
            send(alice, other, "not rung for yet")
            send(alice, room_id, "news")
            tell(room_id)
            told = answer.result(PATIENCE_S)
        assert looks.call_count == before
        assert list(told["rooms"]["join"]) == [room_id]
        assert bodies_of(told, room_id) == ["news"]
        tell(RoomId(other))
        later = ok(bob.get(f"{V3}/sync", since=told["next_batch"], timeout=LONG))
        assert looks.call_count == before
        assert list(later["rooms"]["join"]) == [other]
        assert bodies_of(later, other) == ["not rung for yet"]

    def test_who_was_logged_out_while_they_waited_is_shown_no_news(
        self, room: tuple[Client, Client, RoomId, Syncing]
    ) -> None:
        alice, bob, room_id, syncing = room
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(bob.get, f"{V3}/sync", since=syncing.since, timeout=LONG)
            until(lambda: registrations(bob))
            key = {"user_id": bob.user_id, "sk": f"device#{bob.device_id}"}
            dynamodb.execute(dynamodb.delete("users", key))
            send(alice, room_id, "news")
            tell(room_id)
            assert answer.result(PATIENCE_S).json["errcode"] == "M_UNKNOWN_TOKEN"

    def test_who_left_the_room_that_rang_sees_no_more_of_it(
        self, room: tuple[Client, Client, str, Syncing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice, bob, room_id, syncing = room
        holds = mock.Mock(wraps=waiting.hold)
        monkeypatch.setattr(waiting, "hold", holds)
        with ThreadPoolExecutor() as pool:
            answer = waits(pool, syncing)
            until(lambda: holds.call_count == 2)  # the first finds no queue and makes it
            ok(alice.post(path(room_id, "kick"), {"user_id": bob.user_id}))
            send(alice, room_id, "not for bob")
            (wait,) = registrations(bob)
            wake_queues.ring(wait.queue, wait.nonce, rooms=[room_id])
            told = answer.result(PATIENCE_S)
        assert "join" not in told["rooms"]
        assert bodies_of({"rooms": {"join": told["rooms"]["leave"]}}, room_id) == []

    def test_a_request_that_fails_after_registering_takes_no_slot(
        self, room: tuple[Client, Client, str, Syncing]
    ) -> None:
        _, bob, _, syncing = room
        answer = bob.get(f"{V3}/sync", since=syncing.since, timeout=LONG, filter="unknown")
        assert answer.status == 400
        assert registrations(bob) == []

    @pytest.mark.parametrize("way", ["today's", "founding"])
    def test_the_old_event_stream_waits_by_the_same_slots(
        self, way: str, room: tuple[Client, Client, str, Syncing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, bob, _, syncing = room
        monkeypatch.setattr(waiting, "SLOTS", 0)
        base = V3 if way == "today's" else "/_matrix/client/api/v1"
        check_sent_away(bob.get(f"{base}/events", timeout=LONG, **{"from": syncing.since}))

    def test_a_change_between_the_look_and_the_wait(
        self, room: tuple[Client, Client, RoomId, Syncing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice, _, room_id, syncing = room
        hold = waiting.hold

        def late(*arguments: Any) -> waiting.Held:
            monkeypatch.undo()
            send(alice, room_id, "just now")
            tell(room_id)
            return hold(*arguments)

        monkeypatch.setattr(waiting, "hold", late)
        assert bodies_of(syncing.peek(timeout=LONG), room_id) == ["just now"]

    def test_a_change_between_the_registration_and_the_look(
        self, room: tuple[Client, Client, RoomId, Syncing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The look sees the change. Its ring doesn't end a later wait."""
        alice, _, room_id, syncing = room

        def late(*arguments: Any, **named: Any) -> Any:
            monkeypatch.undo()
            send(alice, room_id, "just now")
            tell(room_id)
            return first_look.look(*arguments, **named)

        monkeypatch.setattr(engine, "look", late)
        assert bodies_of(syncing.sync(timeout=LONG), room_id) == ["just now"]
        assert has_nothing(syncing.peek(timeout=200))

    def test_a_ring_without_news_goes_on_waiting(self, room: tuple[Client, Client, RoomId, Syncing]) -> None:
        alice, bob, room_id, syncing = room
        with ThreadPoolExecutor() as pool:
            answer = waits(pool, syncing)
            until(lambda: registrations(bob))
            (first,) = registrations(bob)
            tell(room_id)
            until(lambda: [wait.nonce for wait in registrations(bob)] not in ([], [first.nonce]))
            send(alice, room_id, "news")
            tell(room_id)
            assert bodies_of(answer.result(PATIENCE_S), room_id) == ["news"]

    def test_a_ring_for_an_earlier_wait_is_thrown_away(
        self, room: tuple[Client, Client, RoomId, Syncing], sqs: Sqs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The client waits on, without another look, until a ring comes for its own wait."""
        alice, bob, room_id, syncing = room
        monkeypatch.setattr(waiting, "SLOTS", 1)
        assert has_nothing(syncing.peek(timeout=1_000))
        until(lambda: registrations(bob) == [])  # a wait that ended early keeps its slot for a second
        (name,) = sqs._queues
        wake_queues.ring(f"https://sqs.example.org/0/{name}", wake_queues.new_nonce(kept=False))
        with (
            mock.patch.object(engine, "assemble", side_effect=assembling.assemble) as looks,
            ThreadPoolExecutor() as pool,
        ):
            answer = waits(pool, syncing)
            until(lambda: registrations(bob) and sqs.queue(name).counts() == (0, 0, 0))
            send(alice, room_id, "news")
            tell(room_id)
            assert bodies_of(answer.result(PATIENCE_S), room_id) == ["news"]
        is_fresh = sync_tokens.FRESH_S > 0
        before = 1 if is_fresh else 2
        assert looks.call_count == before + 1, "the stale ring brings no look"
        assert sqs.queue(name).counts() == (0, 0, 0)

    def test_a_queue_that_is_gone(self, room: tuple[Client, Client, RoomId, Syncing], sqs: Sqs) -> None:
        """The next ring makes the queue again, and the client that waits on it looks again."""
        alice, _, room_id, syncing = room
        assert has_nothing(syncing.peek(timeout=100))
        sqs._queues.clear()
        with ThreadPoolExecutor() as pool:
            answer = waits(pool, syncing)
            until(lambda: sqs._queues)
            for name in list(sqs._queues):
                sqs.delete_queue({"QueueUrl": queue_url(name)})
            send(alice, room_id, "news")
            tell(room_id)
            assert bodies_of(answer.result(PATIENCE_S), room_id) == ["news"]

    def test_a_queue_that_is_missing_is_made_once_and_waited_on(
        self, room: tuple[Client, Client, RoomId, Syncing], sqs: Sqs
    ) -> None:
        """The wait keeps its slot, since the queues of other slots would be missing too."""
        alice, bob, room_id, syncing = room
        with ThreadPoolExecutor() as pool:
            answer = waits(pool, syncing)
            until(lambda: sqs._queues)
            send(alice, room_id, "news")
            tell(room_id)
            assert bodies_of(answer.result(PATIENCE_S), room_id) == ["news"]
        assert len(sqs._queues) == 1
        assert registrations(bob) == []

    def test_typing_ends_while_waiting(self, room: tuple[Client, Client, str, Syncing]) -> None:
        alice, _, room_id, syncing = room
        type_until_shown(alice, room_id, lambda: f"'user_ids': ['{alice.user_id}']" in str(syncing.sync()))
        ended = syncing.sync(timeout=LONG)["rooms"]["join"][room_id]["ephemeral"]["events"]
        assert ended[0]["content"]["user_ids"] == []

    def test_a_room_whose_state_is_on_its_way_is_looked_at_again(
        self, room: tuple[Client, Client, RoomId, Syncing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice, _, room_id, syncing = room
        send(alice, room_id, "news")
        key = room_items.head_key(room_id)
        dynamodb.execute(dynamodb.update("rooms", key, "SET unsettled = :b", values={":b": b"\0" * 32}))
        waited = []

        def arrive(_queue: str, _nonce: str, seconds: float) -> wake_queues.Heard:
            waited.append(seconds)
            with acting_for(None):
                dynamodb.execute(dynamodb.update("rooms", key, "REMOVE unsettled"))
            return wake_queues.Heard()

        monkeypatch.setattr(wake_queues, "wait", arrive)
        assert bodies_of(syncing.peek(timeout=LONG), room_id) == ["news"]
        assert len(waited) == 1
        assert 0 < waited[0] <= sections.SETTLING_MS / 1000

    def test_registrations_of_devices_that_are_gone_are_cleared_away(
        self, room: tuple[Client, Client, str, Syncing]
    ) -> None:
        _, bob, _, syncing = room
        for number in range(6):
            old = listeners.Wait(
                UserId(bob.user_id), DeviceId(f"GONE{number}"), "h0", "https://x/queue", "nonce", 1_000
            )
            assert listeners.register(old, None)[0]
        for _ in range(3):
            syncing.peek(timeout=50)
        (item,) = listeners.read_items([UserId(bob.user_id)])
        assert not [name for name in item if "GONE" in name]

    def test_only_the_device_concerned_is_rung(self, room: tuple[Client, Client, RoomId, Syncing]) -> None:
        alice, bob, room_id, syncing = room
        with ThreadPoolExecutor() as pool:
            answer = waits(pool, syncing)
            until(lambda: registrations(bob))
            wakes.wake_for_stream_items([{"stream_id": f"device:{bob.user_id}/OTHER", "seq": 1, "sk": "x"}])
            assert len(registrations(bob)) == 1
            assert not answer.done()
            send(alice, room_id, "news")
            tell(room_id)
            assert bodies_of(answer.result(PATIENCE_S), room_id) == ["news"]
