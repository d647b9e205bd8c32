"""Which changes in streams ring waiting clients at once, later, or together with the next ring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from local_cloud.aws.sqs import Sqs
from murmuration.clock import now_ms
from murmuration.delivery import wakes
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.settings import settings
from murmuration.storage.live import connections, listeners, streams, wake_queues
from murmuration.storage.live.listeners import Socket
from tests.in_process import Client, segment
from tests.local_cloud.waiting import PATIENCE_S
from tests.logged_in import log_in
from tests.rooms.people import V3, create_room, join, ok, path, send
from tests.sync.client import Syncing
from tests.sync.conftest import held, parked, sqs
from tests.sync.test_waiting import LONG, registrations, tell

__all__ = ["held", "parked", "sqs"]
Make = Callable[..., Client]
Three = tuple[Client, Client, str, Syncing]
pytestmark = pytest.mark.usefixtures("sqs")


@pytest.fixture
def room(make_client: Make) -> Three:
    """Return Alice's room with Bob and Carol, and Bob's place in the stream."""
    alice, bob, carol = (make_client(name) for name in ("alice", "bob", "carol"))
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    join(carol, room_id)
    syncing = Syncing(bob)
    syncing.sync()
    return alice, bob, room_id, syncing


def read(client: Client, room_id: str, event_id: str) -> None:
    ok(client.post(path(room_id, "receipt", "m.read", event_id)))


def tell_of_stream(stream: str) -> None:
    """Do what the Streams worker does after the newest change in a stream."""
    head = streams.read_head(stream)
    wakes.wake_for_stream_items(streams.read_after(stream, head - 1))


def rings(sqs: Sqs, wait: listeners.Wait) -> tuple[int, int]:
    """Return how many rings are in a wait's queue, and how many come there later."""
    there, _, later = sqs.queue(wait.queue.rpartition("/")[2]).counts()
    return there, later


@pytest.mark.usefixtures("parked")
class TestParked:
    def test_a_receipt_rings_once_and_late(self, room: Three, sqs: Sqs) -> None:
        alice, bob, room_id, syncing = room
        first, second = send(alice, room_id, "a"), send(alice, room_id, "b")
        syncing.sync()
        syncing.sync(timeout=LONG)
        (wait,) = registrations(bob)
        for event_id in (first, second):
            read(alice, room_id, event_id)
            tell_of_stream(streams.room_stream(RoomId(room_id)))
            assert rings(sqs, wait) == (0, 1)
        (noted,) = registrations(bob)
        assert (noted.nonce, noted.late) == (wait.nonce, True)
        assert noted.until < wait.until, "it ends soon after that ring"

    def test_what_is_urgent_rings_at_once_though_a_late_ring_is_on_its_way(
        self, room: Three, sqs: Sqs
    ) -> None:
        alice, bob, room_id, syncing = room
        event_id = send(alice, room_id, "a")
        syncing.sync()
        syncing.sync(timeout=LONG)
        (wait,) = registrations(bob)
        read(alice, room_id, event_id)
        tell_of_stream(streams.room_stream(RoomId(room_id)))
        send(alice, room_id, "b")
        tell(RoomId(room_id))
        assert rings(sqs, wait) == (1, 1)
        assert registrations(bob) == []
        (item,) = listeners.read_items([UserId(bob.user_id)])
        rests = listeners.taken_slots(item, DeviceId(bob.device_id))[wait.slot]
        assert rests >= wait.until - 700 + listeners.QUARANTINE_S - 5, "its slot rests until both are gone"

    def test_a_late_ring_comes(self, room: Three, sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
        alice, bob, room_id, syncing = room
        event_id = send(alice, room_id, "a")
        syncing.sync()
        syncing.sync(timeout=LONG)
        (wait,) = registrations(bob)
        monkeypatch.setattr(wakes, "LATE_S", 1)
        read(alice, room_id, event_id)
        tell_of_stream(streams.room_stream(RoomId(room_id)))
        found = sqs.queue(wait.queue.rpartition("/")[2])
        rung = [message.body for message in found.receive(1, wait=PATIENCE_S, visibility=0)]
        assert [body.partition(" ")[0] for body in rung] == [wait.nonce]

    def test_in_a_direct_chat_a_receipt_rings_at_once(self, make_client: Make, sqs: Sqs) -> None:
        alice, bob = make_client("alice"), make_client("bob")
        room_id = RoomId(create_room(alice, preset="public_chat"))
        join(bob, room_id)
        event_id = send(alice, room_id, "a")
        syncing = Syncing(bob)
        syncing.sync()
        syncing.sync(timeout=LONG)
        (wait,) = registrations(bob)
        read(alice, room_id, event_id)
        tell_of_stream(streams.room_stream(room_id))
        assert rings(sqs, wait) == (1, 0)

    @pytest.mark.parametrize(
        ("change", "members", "expected"),
        [
            ("typing", 20, (1, 0)),
            ("typing", 2, (0, 0)),
            ("typing's end", 20, (1, 0)),
            ("typing's end", 2, (0, 0)),
            ("receipt", 20, (0, 1)),
            ("receipt", 2, (0, 0)),
            ("presence", 20, (0, 1)),
            ("presence", 2, (0, 0)),
            ("device list", 2, (1, 0)),
        ],
    )
    def test_the_room_decides(
        self,
        change: str,
        members: int,
        expected: tuple[int, int],
        room: Three,
        sqs: Sqs,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Whether a change rings depends on whether the room has more than `members` members."""
        alice, bob, room_id, syncing = room
        monkeypatch.setattr(wakes, "EPHEMERAL_ROOM", members)
        syncing.sync(timeout=LONG)
        (wait,) = registrations(bob)
        items: dict[str, dict[str, Any]] = {
            "typing": {"sk": "typing", "users": {alice.user_id: 9}, "user_id": alice.user_id},
            "typing's end": {"sk": "typing", "users": {}, "user_id": alice.user_id},
            "receipt": {"sk": "r", "receipt_type": "m.read", "user_id": alice.user_id},
            "presence": {"sk": f"presence#{alice.user_id}", "via": room_id},
            "device list": {"sk": "devices", "user_id": alice.user_id},
        }
        wakes.wake_for_stream_items(
            [{"stream_id": streams.room_stream(RoomId(room_id)), "seq": 1, **items[change]}]
        )
        assert rings(sqs, wait) == expected

    @pytest.mark.parametrize(
        ("change", "expected"), [("read marker", (0, 1)), ("account data", (1, 0)), ("to-device", (1, 0))]
    )
    def test_ones_own_streams(self, change: str, expected: tuple[int, int], room: Three, sqs: Sqs) -> None:
        alice, bob, room_id, syncing = room
        event_id = send(alice, room_id, "a")
        syncing.sync()
        syncing.sync(timeout=LONG)
        (wait,) = registrations(bob)
        tablet, stream = (
            log_in(UserId(bob.user_id), DeviceId("TABLET")),
            streams.user_stream(UserId(bob.user_id)),
        )
        if change == "read marker":
            ok(tablet.post(path(room_id, "read_markers"), {"m.fully_read": event_id}))
        elif change == "account data":
            ok(tablet.put(f"{V3}/user/{segment(bob.user_id)}/account_data/x", {"a": 1}))
        else:
            ok(alice.put(f"{V3}/sendToDevice/x/1", {"messages": {bob.user_id: {"*": {"a": 1}}}}))
            stream = streams.device_stream(UserId(bob.user_id), DeviceId(bob.device_id))
        tell_of_stream(stream)
        assert rings(sqs, wait) == expected

    def test_both_kinds_in_one_batch_ring_at_once(self, room: Three, sqs: Sqs) -> None:
        alice, bob, room_id, syncing = room
        syncing.sync(timeout=LONG)
        (wait,) = registrations(bob)
        stream = streams.room_stream(RoomId(room_id))
        wakes.wake_for_stream_items(
            [
                {
                    "stream_id": stream,
                    "seq": 1,
                    "sk": "typing",
                    "users": {alice.user_id: 9},
                    "user_id": alice.user_id,
                },
                {"stream_id": stream, "seq": 2, "sk": f"presence#{alice.user_id}", "via": room_id},
            ]
        )
        assert rings(sqs, wait) == (1, 0)

    def test_a_wait_with_a_late_ring_is_not_given_up(self, room: Three, sqs: Sqs) -> None:
        """Its slot would be used again while the ring is on its way."""
        _, bob, _, syncing = room
        syncing.sync(timeout=LONG)
        (wait,) = registrations(bob)
        listeners.note_late(wait, now_ms() // 1000 + wakes.LATE_S)
        listeners.release(wait)
        assert [each.slot for each in registrations(bob)] == [wait.slot]


@pytest.mark.usefixtures("held")
def test_a_wait_that_is_held_is_not_rung_late(room: Three, sqs: Sqs) -> None:
    """The next one begins with a look, which is sooner."""
    alice, bob, room_id, _ = room
    url = f"https://sqs.example.org/0/{settings().queue('wake-x')}"
    wait = listeners.Wait(
        UserId(bob.user_id),
        DeviceId(bob.device_id),
        "h0",
        url,
        wake_queues.new_nonce(kept=False),
        4_000_000_000,
    )
    assert listeners.register(wait, None)[0]
    event_id = send(alice, room_id, "a")
    read(alice, room_id, event_id)
    tell_of_stream(streams.room_stream(RoomId(room_id)))
    assert not sqs._queues
    assert [(each.nonce, each.late) for each in registrations(bob)] == [(wait.nonce, False)]


def test_a_connection_is_looked_at_later_once(room: Three, sqs: Sqs) -> None:
    alice, bob, room_id, _ = room
    sqs.create_queue({"QueueName": settings().queue(wakes.PUSHES)})
    until = 4_000_000_000
    listeners.add_socket(Socket(UserId(bob.user_id), DeviceId(bob.device_id), "abc"), until)
    for body in ("a", "b"):
        read(alice, room_id, send(alice, room_id, body))
        tell_of_stream(streams.room_stream(RoomId(room_id)))
        assert sqs.queue(settings().queue(wakes.PUSHES)).counts() == (0, 0, 1)
    tell(RoomId(room_id))
    assert sqs.queue(settings().queue(wakes.PUSHES)).counts() == (1, 0, 1)
    listeners.remove_socket(UserId(bob.user_id), "abc")
    listeners.note_late_push(Socket(UserId(bob.user_id), DeviceId(bob.device_id), "abc"), until)
    assert list(listeners.sockets_in(listeners.read_items([UserId(bob.user_id)]))) == []
    assert connections.LIFETIME_S > wakes.LATE_S


def test_a_connection_is_told_that_typing_has_ended(room: Three, sqs: Sqs) -> None:
    alice, bob, room_id, _ = room
    sqs.create_queue({"QueueName": settings().queue(wakes.PUSHES)})
    listeners.add_socket(Socket(UserId(bob.user_id), DeviceId(bob.device_id), "abc"), 4_000_000_000)
    for typing, expected in ((True, (1, 0, 0)), (False, (2, 0, 0))):
        ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": typing}))
        tell_of_stream(streams.room_stream(RoomId(room_id)))
        assert sqs.queue(settings().queue(wakes.PUSHES)).counts() == expected


def test_who_types_on_rings_nobody_unless_it_ends_sooner(room: Three, sqs: Sqs) -> None:
    alice, bob, room_id, _ = room
    sqs.create_queue({"QueueName": settings().queue(wakes.PUSHES)})
    listeners.add_socket(Socket(UserId(bob.user_id), DeviceId(bob.device_id), "abc"), 4_000_000_000)
    where = path(room_id, "typing", alice.user_id)
    for timeout, expected in ((30_000, 1), (60_000, 1), (90_000, 1), (5_000, 2)):
        ok(alice.put(where, {"typing": True, "timeout": timeout}))
        tell_of_stream(streams.room_stream(RoomId(room_id)))
        assert sqs.queue(settings().queue(wakes.PUSHES)).counts() == (expected, 0, 0)
    (event,) = Syncing(bob).sync()["rooms"]["join"][room_id]["ephemeral"]["events"]
    assert event == {"type": "m.typing", "content": {"user_ids": [alice.user_id]}}
