"""To-device messages arrive once, in order, at the devices they are for."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration import to_device
from murmuration.aws import dynamodb
from murmuration.clock import now_ms
from murmuration.endpoint import Request
from murmuration.identity.tokens import Requester
from murmuration.protocol.identifiers import DeviceId
from murmuration.storage.live import streams
from murmuration.storage.live import to_device as storage
from tests.in_process import segment
from tests.logged_in import log_in

_txn_ids = itertools.count()


@pytest.fixture
def alice(fresh_user_id):
    return log_in(fresh_user_id("alice"), DeviceId("ALICE"))


@pytest.fixture
def bob(fresh_user_id):
    return log_in(fresh_user_id("bob"), DeviceId("BOB1"))


def send(sender, messages, *, txn_id=None, event_type="m.test"):
    txn_id = txn_id or f"txn{next(_txn_ids)}"
    path = f"/_matrix/client/v3/sendToDevice/{event_type}/{segment(txn_id)}"
    return sender.put(path, {"messages": messages})


def inbox(client, after=0, limit=100):
    return storage.read(client.user_id, client.device_id, after, limit)


def contents(client):
    return [event["content"] for event in inbox(client).events]


def test_a_message_arrives_as_an_event(alice, bob):
    assert send(alice, {bob.user_id: {"BOB1": {"n": 1.5}}}, event_type="m.room_key").json == {}
    assert inbox(bob).events == [{"type": "m.room_key", "sender": alice.user_id, "content": {"n": 1.5}}]
    assert inbox(alice).events == []


def test_each_device_gets_its_own_message(alice, bob):
    bob2 = log_in(bob.user_id, DeviceId("BOB2"))
    send(alice, {bob.user_id: {"BOB1": {"for": 1}, "BOB2": {"for": 2}}, alice.user_id: {"ALICE": {"me": 1}}})
    assert [contents(client) for client in (bob, bob2, alice)] == [[{"for": 1}], [{"for": 2}], [{"me": 1}]]


def test_a_star_means_every_device_that_is_not_named(alice, bob):
    bob2 = log_in(bob.user_id, DeviceId("BOB2"))
    send(alice, {bob.user_id: {"*": {"to": "all"}, "BOB2": {"to": "two"}}})
    assert (contents(bob), contents(bob2)) == ([{"to": "all"}], [{"to": "two"}])


def test_devices_and_users_that_do_not_exist_get_nothing(alice, bob, fresh_user_id):
    nobody = fresh_user_id("nobody")
    messages: dict[str, object] = {
        bob.user_id: {"NONE": {}, "BOB1": {}},
        nobody: {"*": {}},
    }
    assert send(alice, messages).status == 200
    assert contents(bob) == [{}]
    assert streams.read_head(streams.device_stream(bob.user_id, DeviceId("NONE"))) == 0


def test_messages_arrive_in_order_until_acknowledged(alice, bob):
    for n in range(5):
        send(alice, {bob.user_id: {"BOB1": {"n": n}}})
    first = inbox(bob, limit=3)
    assert [event["content"]["n"] for event in first.events] == [0, 1, 2]
    assert inbox(bob, limit=3) == first, "what isn't acknowledged is delivered again"
    rest = inbox(bob, after=first.position)
    assert [event["content"]["n"] for event in rest.events] == [3, 4]
    storage.acknowledge(bob.user_id, DeviceId("BOB1"), first.position)
    assert [content["n"] for content in contents(bob)] == [3, 4]
    storage.acknowledge(bob.user_id, DeviceId("BOB1"), rest.position)
    assert inbox(bob) == storage.Inbox([], rest.position)
    send(alice, {bob.user_id: {"BOB1": {"n": 5}}})
    assert [event["content"]["n"] for event in inbox(bob, after=rest.position).events] == [5]


def test_acknowledging_again_harms_nothing(alice, bob):
    send(alice, {bob.user_id: {"BOB1": {"n": 0}}})
    position = inbox(bob).position
    send(alice, {bob.user_id: {"BOB1": {"n": 1}}})
    for _ in range(2):
        storage.acknowledge(bob.user_id, DeviceId("BOB1"), position)
    assert contents(bob) == [{"n": 1}]


def test_other_items_of_the_stream_are_no_messages(alice, bob):
    stream = streams.device_stream(bob.user_id, DeviceId("BOB1"))
    streams.append(stream, lambda: [{"sk": "otk"}])
    send(alice, {bob.user_id: {"BOB1": {}}})
    found = inbox(bob)
    assert (len(found.events), found.position) == (1, 2)
    storage.acknowledge(bob.user_id, DeviceId("BOB1"), found.position)
    assert [item["sk"] for item in streams.read_after(stream, 0)] == ["otk"]


def test_a_flood_of_large_messages_comes_in_parts(alice, bob):
    for number in range(40):
        large = {"n": number, "filler": "x" * 60_000}
        assert send(alice, {bob.user_id: {bob.device_id: large}}).status == 200
    seen, since = [], None
    while True:
        answer = bob.get("/_matrix/client/v3/sync", since=since)
        assert len(answer.body) < 1_500_000
        events = answer.json.get("to_device", {}).get("events", [])
        if not events:
            break
        seen += [event["content"]["n"] for event in events]
        since = answer.json["next_batch"]
    assert seen == list(range(40))


def test_what_arrives_during_the_reading_waits_for_the_next(alice, bob):
    store(alice, bob, 0, 1_000)
    head = streams.read_head(streams.device_stream(bob.user_id, DeviceId("BOB1")))
    store(alice, bob, 1, 1_001)
    found = storage.read(bob.user_id, DeviceId("BOB1"), 0, 100, head=head)
    assert ([event["content"]["n"] for event in found.events], found.position) == ([0], head)


# -- Order ---


def store(sender, receiver, n, received_ms):
    """Store a message that was sent at `received_ms`, whenever that was."""
    to_device.send_to_device(
        Requester(sender.user_id, sender.device_id),
        "m.test",
        f"txn{next(_txn_ids)}",
        {"messages": {receiver.user_id: {receiver.device_id: {"n": n}}}},
        received_ms=received_ms,
    )


def numbers(found):
    return [event["content"]["n"] for event in found.events]


def test_messages_that_wait_together_come_in_the_order_of_their_requests(alice, bob):
    for n in (3, 0, 4, 1, 2):
        store(alice, bob, n, 1_000 + n)
    assert numbers(inbox(bob)) == [0, 1, 2, 3, 4]


def test_messages_of_one_millisecond_come_as_they_were_stored(alice, bob):
    for n in (0, 1, 2):
        store(alice, bob, n, 1_000)
    assert numbers(inbox(bob)) == [0, 1, 2]


def test_a_message_stored_late_is_not_skipped(alice, bob):
    """Its request came before that of a message that was already read. It gets a place after that one."""
    store(alice, bob, 1, 2_000)
    seen = inbox(bob)
    store(alice, bob, 0, 1_000)
    late = inbox(bob, after=seen.position)
    assert (numbers(seen), numbers(late)) == ([1], [0])
    assert numbers(inbox(bob, after=late.position)) == []


class Clock:
    """A clock that goes on while somebody sleeps, who then also does what `meanwhile` has for that time."""

    def __init__(self, monkeypatch, now, meanwhile=None):
        self.now = now
        self.slept = []
        self._meanwhile = sorted((meanwhile or {}).items())
        monkeypatch.setattr(storage, "now_ms", lambda: self.now)
        monkeypatch.setattr("time.sleep", self._sleep)

    def _sleep(self, seconds):
        until = self.now + round(seconds * 1000)
        while self._meanwhile and self._meanwhile[0][0] <= until:
            self.now, act = self._meanwhile.pop(0)
            act()
        self.now = until
        self.slept.append(round(seconds * 1000))


def test_a_reader_waits_for_those_that_came_with_a_young_message(alice, bob, monkeypatch):
    """A message whose request came before is stored while the reader waits. Both are read, in order."""
    clock = Clock(monkeypatch, 10_030, {10_200: lambda: store(alice, bob, 0, 9_999)})
    store(alice, bob, 1, 10_000)
    found = inbox(bob)
    assert numbers(found) == [0, 1]
    assert clock.slept[0] == storage.SETTLED_MS - 30
    assert numbers(inbox(bob, after=found.position)) == []


def test_the_slower_messages_are_the_longer_a_reader_waits(alice, bob, monkeypatch):
    """The first took 140 ms, so a message that was sent before it may take three times as long."""
    late = 10_000 + storage.SPREAD * 140 - 1
    clock = Clock(monkeypatch, 10_140, {late: lambda: store(alice, bob, 0, 9_999)})
    store(alice, bob, 1, 10_000)
    assert numbers(inbox(bob)) == [0, 1]
    assert clock.slept[0] == (storage.SPREAD - 1) * 140


def test_a_reader_waits_little_longer_than_the_slowest_took(alice, bob, monkeypatch):
    """A function with a cold start took a second. The reader doesn't wait for three seconds."""
    clock = Clock(monkeypatch, 11_000)
    store(alice, bob, 0, 10_000)
    assert numbers(inbox(bob)) == [0]
    assert clock.slept == [storage.SPREAD_MS]


def test_a_reader_waits_on_if_a_slower_one_has_come(alice, bob, monkeypatch):
    """The second message took 240 ms, so there is time for a third one."""
    clock = Clock(
        monkeypatch,
        10_020,
        {10_240: lambda: store(alice, bob, 1, 10_000), 10_500: lambda: store(alice, bob, 0, 9_999)},
    )
    store(alice, bob, 2, 10_001)
    assert numbers(inbox(bob)) == [0, 1, 2]
    assert clock.slept[0] == storage.SETTLED_MS - 19


def test_what_comes_later_does_not_hold_up_what_is_settled(alice, bob, monkeypatch):
    """A sender that never stops doesn't let a reader wait for ever: young messages are left for the next
    time.
    """
    clock = Clock(
        monkeypatch, 10_010, {at: lambda at=at: store(alice, bob, at, at) for at in range(10_070, 10_600, 60)}
    )
    store(alice, bob, 0, 10_000)
    found = inbox(bob)
    assert numbers(found)[0] == 0
    assert clock.slept == [storage.SETTLED_MS - 10]
    rest = numbers(inbox(bob, after=found.position))
    assert [*numbers(found), *rest] == sorted([*numbers(found), *rest])
    assert rest


def test_a_reader_waits_no_longer_than_its_most(alice, bob, monkeypatch):
    """If each new message was sent before one that was read, they are returned in the end."""
    acts = {at: lambda at=at: store(alice, bob, at, 10_000 - at // 100) for at in range(10_300, 20_000, 100)}
    clock = Clock(monkeypatch, 10_001, acts)
    store(alice, bob, 0, 10_000)
    found = inbox(bob)
    assert sum(clock.slept) <= 2 * storage.LONGEST_MS
    assert numbers(found)[-1] == 0


def test_a_reader_that_waited_leaves_other_changes_for_the_next(alice, bob, monkeypatch):
    """Key counts that change during the wait were read before it, so the position stays before them."""
    stream = streams.device_stream(bob.user_id, DeviceId("BOB1"))
    Clock(monkeypatch, 10_000, {10_100: lambda: streams.nudge(stream)})
    store(alice, bob, 0, 10_000)
    assert inbox(bob).position < streams.read_head(stream)


@pytest.mark.parametrize("age_ms", [storage.LONGEST_MS, 10**9, -(10**9)])
def test_a_reader_does_not_wait_for_what_is_settled(alice, bob, monkeypatch, age_ms):
    """A time that is far in the future is wrong, so nobody waits for it."""
    came_ms = now_ms()
    monkeypatch.setattr(storage, "now_ms", lambda: came_ms + age_ms)
    store(alice, bob, 0, came_ms)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("the reader waited"))
    assert numbers(inbox(bob)) == [0]


def test_a_reader_does_not_wait_for_what_was_stored_at_once(alice, bob, monkeypatch):
    came_ms = now_ms()
    monkeypatch.setattr(storage, "now_ms", lambda: came_ms)
    store(alice, bob, 0, came_ms)
    monkeypatch.setattr(storage, "now_ms", lambda: came_ms + storage.SETTLED_MS)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("the reader waited"))
    assert numbers(inbox(bob)) == [0]


def test_pages_end_where_nothing_later_was_sent_before(alice, bob):
    for n in (0, 1, 3, 2, 4, 5):
        store(alice, bob, n, 1_000 + n)
    pages, position = [], 0
    while found := numbers(page := inbox(bob, position, limit=3)):
        pages.append(found)
        position = page.position
    assert pages == [[0, 1], [2, 3, 4], [5]]


def test_the_gateways_time_is_the_requests(alice, bob):
    event = {"requestContext": {"requestTimeEpoch": 1_234}}
    assert Request(event).received_ms == 1_234
    send(alice, {bob.user_id: {"BOB1": {"n": 0}}})
    assert numbers(inbox(bob)) == [0]


# -- Transactions ----------------------------------------------------------------------------------------


def test_a_repeated_request_delivers_once(alice, bob):
    for _ in range(3):
        assert send(alice, {bob.user_id: {"*": {}}}, txn_id="same").status == 200
    assert contents(bob) == [{}]


def test_a_repetition_after_delivery_delivers_nothing(alice, bob):
    send(alice, {bob.user_id: {"BOB1": {}}}, txn_id="same")
    storage.acknowledge(bob.user_id, DeviceId("BOB1"), inbox(bob).position)
    send(alice, {bob.user_id: {"BOB1": {}}}, txn_id="same")
    assert contents(bob) == []


def test_transaction_ids_belong_to_a_device_and_an_event_type(alice, bob):
    alice2 = log_in(alice.user_id, DeviceId("ALICE2"))
    for sender, event_type in ((alice, "m.a"), (alice2, "m.a"), (bob, "m.a"), (alice, "m.b")):
        send(sender, {bob.user_id: {"BOB1": {}}}, txn_id="same", event_type=event_type)
    assert len(contents(bob)) == 4


def test_eight_repetitions_at_once_deliver_once(alice, bob):
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: send(alice, {bob.user_id: {"BOB1": {}}}, txn_id="same").status, range(8))
        )
    assert answers == [200] * 8
    assert contents(bob) == [{}]


def test_sixteen_senders_at_once_are_all_heard(alice, bob):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: send(alice, {bob.user_id: {"BOB1": {"n": n}}}), range(16)))
    assert sorted(content["n"] for content in contents(bob)) == list(range(16))


def many_devices(user_id, count):
    dynamodb.batch_write(
        [dynamodb.put("users", {"user_id": user_id, "sk": f"device#D{n:03}"}) for n in range(count)]
    )
    return [(user_id, f"D{n:03}") for n in range(count)]


def arrived(devices):
    return [len(storage.read(user_id, device_id, 0, 100).events) for user_id, device_id in devices]


def test_more_devices_than_a_transaction_holds(alice, fresh_user_id):
    devices = many_devices(fresh_user_id("many"), 60)
    for _ in range(2):
        assert send(alice, {devices[0][0]: {"*": {}}}, txn_id="same").status == 200
    assert arrived(devices) == [1] * 60


def test_an_attempt_that_stopped_halfway_is_finished_by_the_next(alice, fresh_user_id, monkeypatch):
    devices = many_devices(fresh_user_id("many"), 60)
    deliver = storage._deliver

    def fail_at_the_second(claim_id, *arguments):
        if claim_id.endswith("#1"):
            raise TimeoutError
        deliver(claim_id, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "_deliver", fail_at_the_second)
        assert send(alice, {devices[0][0]: {"*": {}}}, txn_id="same").status == 500
    assert sorted(set(arrived(devices))) == [0, 1]
    newcomer = (devices[0][0], "A-NEW-DEVICE")
    dynamodb.execute(dynamodb.put("users", {"user_id": newcomer[0], "sk": f"device#{newcomer[1]}"}))
    assert send(alice, {devices[0][0]: {"*": {}}}, txn_id="same").status == 200
    assert arrived([*devices, newcomer]) == [1] * 60 + [0]


def test_large_messages_are_split_over_transactions(alice, fresh_user_id):
    devices = many_devices(fresh_user_id("many"), 40)
    messages = {device: {"text": f"{device}" + "x" * 64_000} for _, device in devices}
    assert send(alice, {devices[0][0]: messages}).status == 200
    assert arrived(devices) == [1] * 40


# -- Bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        (b"{", 400, "M_NOT_JSON"),
        ([], 400, "M_BAD_JSON"),
        ({}, 400, "M_MISSING_PARAM"),
        ({"messages": []}, 400, "M_BAD_JSON"),
        ({"messages": {"bob": {}}}, 400, "M_INVALID_PARAM"),
        ({"messages": {"@bob:example.org": []}}, 400, "M_BAD_JSON"),
        ({"messages": {"@bob:example.org": {"D": "text"}}}, 400, "M_BAD_JSON"),
        ({"messages": {"@bob:example.org": {"D": {"text": "x" * 70_000}}}}, 413, "M_TOO_LARGE"),
    ],
)
def test_bad_requests_are_refused(alice, body, status, errcode):
    answer = alice.put("/_matrix/client/v3/sendToDevice/m.test/txn", body)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)


def test_no_messages_are_no_error(alice):
    assert send(alice, {}).json == {}


def test_odd_device_ids_are_devices_that_do_not_exist(alice, bob):
    assert send(alice, {bob.user_id: {"": {}, "x" * 2000: {}, "\0": {}}}).status == 200
