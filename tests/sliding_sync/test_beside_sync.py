"""/sync and sliding sync on one device at once: both are woken, and neither takes anything from the other.

So it is while an app moves from the one to the other, or where two programs share an access token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from local_cloud.aws.sqs import Sqs
from murmuration.delivery import wakes
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.sliding_sync import marks as sliding_marks
from murmuration.sync import marks as sync_marks
from tests.in_process import Client
from tests.keys import crypto
from tests.local_cloud.waiting import PATIENCE_S, until
from tests.rooms.people import V3, create_room, join, ok, send
from tests.sliding_sync.client import ROOM_LIST, Sliding, bodies
from tests.sliding_sync.test_extensions import Encryption
from tests.sliding_sync.test_extensions import tell as tell_device
from tests.sliding_sync.test_parking import is_rung, slot_of
from tests.sync.client import Syncing, bodies_of, has_nothing
from tests.sync.test_waiting import LONG, registrations, tell

Make = Callable[..., Client]
pytestmark = pytest.mark.usefixtures("sqs")
KEYS = "device_one_time_keys_count"


@dataclass
class People:
    """Alice, and Bob, whose one device has a /sync and two connections of sliding sync."""

    alice: Client
    bob: Client
    room_id: RoomId
    syncing: Syncing
    rooms: Sliding
    keys: Encryption

    def ring_device(self) -> None:
        """Do what the Streams worker does after a change in the device's stream."""
        wakes.wake({(UserId(self.bob.user_id), DeviceId(self.bob.device_id)): None})

    def claim_key(self) -> None:
        wanted = {self.bob.user_id: {self.bob.device_id: "signed_curve25519"}}
        ok(self.alice.post(f"{V3}/keys/claim", {"one_time_keys": wanted}))


@pytest.fixture
def people(make_client: Make) -> People:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    device = crypto.KeyPair(bob.device_id)
    body = {
        "device_keys": crypto.device_keys(bob.user_id, bob.device_id, device),
        "one_time_keys": crypto.one_time_keys(bob.user_id, device, ["A", "B", "C"]),
    }
    ok(bob.post(f"{V3}/keys/upload", body))
    found = People(
        alice, bob, RoomId(room_id), Syncing(bob), Sliding(bob, extensions=ROOM_LIST), Encryption(bob)
    )
    for each in (found.syncing, found.rooms, found.keys):
        each.sync()
    return found


def messages_of(answer: Any) -> list[int]:
    """Return the to-device messages in an answer of either API."""
    section = answer.get("extensions", answer).get("to_device", {})
    return [event["content"]["n"] for event in section.get("events", ())]


@pytest.mark.usefixtures("held")
class TestHeld:
    @pytest.fixture
    def waiting(self, people: People) -> Iterator[tuple[Future[Any], Future[Any], Future[Any]]]:
        """Yield the answers of /sync, the list of rooms and the connection for encryption, which all wait."""
        with ThreadPoolExecutor() as pool:
            each = (people.syncing, people.rooms, people.keys)
            answers = [pool.submit(one.peek, timeout=LONG) for one in each]
            until(lambda: len(registrations(people.bob)) == 3)
            yield answers[0], answers[1], answers[2]
            send(people.alice, people.room_id, "the end")
            tell(people.room_id)
            people.ring_device()

    def test_a_message_wakes_both(self, people: People, waiting: tuple[Future[Any], ...]) -> None:
        send(people.alice, people.room_id, "news")
        tell(people.room_id)
        assert bodies_of(waiting[0].result(PATIENCE_S), people.room_id) == ["news"]
        assert bodies(waiting[1].result(PATIENCE_S)["rooms"][people.room_id]) == ["news"]
        assert not waiting[2].done()
        tell_device(people.alice, people.bob, n=1)
        people.ring_device()
        assert messages_of(waiting[2].result(PATIENCE_S)) == [1]

    def test_messages_to_the_device_come_to_both(
        self, people: People, waiting: tuple[Future[Any], ...]
    ) -> None:
        tell_device(people.alice, people.bob, n=1)
        people.ring_device()
        assert messages_of(waiting[0].result(PATIENCE_S)) == messages_of(waiting[2].result(PATIENCE_S)) == [1]

    def test_a_claimed_key_is_told_to_both(self, people: People, waiting: tuple[Future[Any], ...]) -> None:
        people.claim_key()
        people.ring_device()
        left = {"signed_curve25519": 2}
        assert waiting[0].result(PATIENCE_S)[KEYS] == left
        assert waiting[2].result(PATIENCE_S)["extensions"]["e2ee"][KEYS] == left


@pytest.mark.usefixtures("parked")
class TestParked:
    @pytest.fixture
    def marks(self, people: People) -> tuple[str, str, str]:
        """Park all three, and return their marks."""
        found: tuple[str, ...] = (
            people.syncing.sync(timeout=LONG)["next_batch"],
            people.rooms.sync(timeout=LONG)["pos"],
            people.keys.sync(timeout=LONG)["pos"],
        )
        assert [each.partition("_")[0] for each in found] == ["p", "lp", "lp"]
        return found[0], found[1], found[2]

    def test_each_has_a_slot_of_its_own(self, people: People, marks: tuple[str, str, str], sqs: Sqs) -> None:
        assert len({slot_of(each)[:2] for each in marks}) == len(registrations(people.bob)) == 3
        assert len({each.split(".")[2] for each in marks}) == 3, "and a queue"

    def test_a_message_calls_both(self, people: People, marks: tuple[str, str, str], sqs: Sqs) -> None:
        for number in range(3):
            send(people.alice, people.room_id, f"news {number}")
            tell(people.room_id)
            assert is_rung(sqs, marks[0])
            assert is_rung(sqs, marks[1])
            people.syncing.since = sync_marks.called(marks[0])
            people.rooms.pos = sliding_marks.called(marks[1])
            told, shown = people.syncing.sync(timeout=LONG), people.rooms.sync(timeout=LONG)
            assert bodies_of(told, people.room_id) == [f"news {number}"]
            assert bodies(shown["rooms"][people.room_id]) == [f"news {number}"]
            marks = (told["next_batch"], shown["pos"], marks[2])
            assert [marks[0][:2], marks[1][:3]] == ["p_", "lp_"], "both wait again"
            assert {slot_of(each)[:2] for each in marks[:2]} <= {
                one.slot for one in registrations(people.bob)
            }

    def test_messages_to_the_device_and_key_counts_come_to_both(
        self, people: People, marks: tuple[str, str, str], sqs: Sqs
    ) -> None:
        tell_device(people.alice, people.bob, n=1)
        people.claim_key()
        people.ring_device()
        assert [is_rung(sqs, each) for each in marks] == [True, True, True]
        people.syncing.since = sync_marks.called(marks[0])
        people.keys.pos, people.rooms.pos = sliding_marks.called(marks[2]), sliding_marks.called(marks[1])
        told, shown = people.syncing.sync(timeout=LONG), people.keys.sync(timeout=LONG)
        assert messages_of(told) == messages_of(shown) == [1]
        assert told[KEYS] == shown["extensions"]["e2ee"][KEYS] == {"signed_curve25519": 2}
        assert people.rooms.sync(timeout=LONG)["rooms"] == {}
        assert messages_of(people.keys.sync(timeout=LONG)) == []
        assert has_nothing(people.syncing.sync(timeout=LONG))


@pytest.mark.usefixtures("parked")
class TestMessagesToTheDevice:
    """They are the device's: whoever comes back with a place behind one has it, and it is deleted."""

    def test_the_other_may_still_read_until_one_comes_back(self, people: People) -> None:
        tell_device(people.alice, people.bob, n=1)
        for _ in range(2):
            assert messages_of(people.syncing.peek()) == messages_of(people.keys.peek()) == [1]

    def test_what_sync_came_back_for_is_gone(self, people: People) -> None:
        tell_device(people.alice, people.bob, n=1)
        assert messages_of(people.syncing.sync()) == [1]
        people.syncing.sync()
        tell_device(people.alice, people.bob, n=2)
        assert messages_of(people.keys.sync()) == [2]
        assert messages_of(people.syncing.sync()) == [2]

    def test_what_sliding_sync_came_back_for_is_gone(self, people: People) -> None:
        tell_device(people.alice, people.bob, n=1)
        assert messages_of(people.keys.sync()) == [1]
        people.keys.sync()
        tell_device(people.alice, people.bob, n=2)
        assert messages_of(people.syncing.sync()) == [2]
        assert messages_of(people.keys.sync()) == [2]

    def test_nothing_is_lost_where_both_are_behind(self, people: People) -> None:
        """Each has read other messages, and continues at its own place."""
        tell_device(people.alice, people.bob, n=1)
        assert messages_of(people.syncing.sync()) == [1]
        tell_device(people.alice, people.bob, n=2)
        assert messages_of(people.keys.sync()) == [1, 2]
        tell_device(people.alice, people.bob, n=3)
        assert messages_of(people.syncing.sync()) == [2, 3]
        assert messages_of(people.keys.sync()) == [3]
