"""Sliding sync without a waiting function: which clients are parked, and when they are called."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest

from local_cloud.aws.sqs import Sqs
from local_cloud.permissions import acting_for
from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Values
from murmuration.delivery import wakes
from murmuration.protocol.identifiers import RoomId
from murmuration.settings import settings
from murmuration.sliding_sync import assembly, engine, look, marks
from murmuration.storage.live import wake_queues
from murmuration.storage.live.listeners import Wait
from murmuration.storage.live.token_forms import REFUSED_POS
from murmuration.storage.rooms import room_items
from murmuration.sync import waiting
from tests.in_process import Client
from tests.keys import crypto
from tests.local_cloud.waiting import PATIENCE_S, until
from tests.rooms.people import V3, create_room, invite, join, leave, messages, ok, path, send, set_state
from tests.sliding_sync.client import ROOM_LIST, Sliding, all_rooms, bodies, opened
from tests.sliding_sync.test_extensions import Encryption
from tests.sliding_sync.test_extensions import tell as tell_device
from tests.sync.test_waiting import LONG, registrations, tell

Make = Callable[..., Client]
People = tuple[Client, Client, str, Sliding]
pytestmark = pytest.mark.usefixtures("sqs", "parked")


@pytest.fixture
def people(make_client: Make) -> People:
    """Return Alice's room, which Bob is in, and Bob's connection."""
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    sliding = Sliding(bob, extensions=ROOM_LIST)
    sliding.sync()
    return alice, bob, room_id, sliding


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Wait]]:
    """End the time of held waits at once. Yield the list of waits that were held."""
    held: list[Wait] = []

    def hold(wait: Wait, *_: Any) -> waiting.Held:
        held.append(wait)
        return waiting.Held(False, wait, frozenset())

    monkeypatch.setattr(waiting, "hold", hold)
    yield held
    assert held, "nobody was held"


def park(sliding: Sliding) -> str:
    """Bring a connection to the point where it waits, and return its mark."""
    pos: str = sliding.sync(timeout=LONG)["pos"]
    assert pos.startswith("lp_")
    return pos


def is_rung(sqs: Sqs, mark: str) -> bool:
    """Return whether the queue has a ring that a mark names."""
    name = settings().queue(wake_queues.prefix() + mark.split(".")[2])
    return bool(sqs.receive_message({"QueueUrl": f"/{name}", "VisibilityTimeout": 0}).get("Messages"))


def slot_of(pos: str) -> str:
    return pos.split(".")[1]


def test_a_quiet_answer_comes_at_once_with_a_mark(people: People) -> None:
    _, bob, _, sliding = people
    before = sliding.pos
    answer = sliding.peek(timeout=LONG)
    mark = answer.pop("pos")
    assert answer == {"lists": {"all": {"count": 1}}, "rooms": {}, "extensions": {}}
    assert mark.startswith("lp_")
    (wait,) = registrations(bob)
    assert (wait.slot, wait.kept) == (slot_of(mark), True)
    sliding.pos = mark
    assert sliding.peek()["pos"] == before, "it names the same place"


def test_what_a_mark_says_is_the_quiet_answer(make_client: Make) -> None:
    alice = make_client("alice")
    encryption = Encryption(alice)
    encryption.sync()
    answer = encryption.peek(timeout=LONG)
    quiet = answer.pop("pos").split(".")[5]
    text = urlsafe_b64decode(quiet).decode()
    assert json.loads("{" + text.replace("~", "") + "}") == answer
    called = json.loads("{" + text.partition("~")[0] + text.rpartition("~")[2] + "}")
    assert called["extensions"] == {"to_device": answer["extensions"]["to_device"]}


def test_who_is_called_gets_the_news_with_the_next_mark(people: People, sqs: Sqs) -> None:
    alice, bob, room_id, sliding = people
    mark = park(sliding)
    for number in range(waiting.SLOTS - 1):
        send(alice, room_id, f"news {number}")
        tell(RoomId(room_id))
        assert is_rung(sqs, mark)
        sliding.pos = marks.called(mark)
        answer = sliding.sync(timeout=LONG)
        assert bodies(answer["rooms"][room_id]) == [f"news {number}"]
        before, mark = mark, answer["pos"]
        assert mark.startswith("lp_")
        (wait,) = registrations(bob)
        assert wait.slot == slot_of(mark) != slot_of(before)
    send(alice, room_id, "one too many")
    tell(RoomId(room_id))
    sliding.pos = marks.called(mark)
    assert sliding.sync(timeout=LONG)["pos"].startswith("l0."), "all slots rest"


def test_who_is_called_for_nothing_waits_on_after_one_look(people: People) -> None:
    *_, room_id, sliding = people
    mark = park(sliding)
    tell(RoomId(room_id))
    sliding.pos = marks.called(mark)
    with mock.patch.object(engine, "assemble", side_effect=assembly.assemble) as looks:
        answer = sliding.peek(timeout=LONG)
    assert answer["rooms"] == {}
    assert answer["pos"].startswith("lp_")
    assert looks.call_count == 1


def test_both_connections_of_a_device_have_slots_of_their_own(people: People, sqs: Sqs) -> None:
    alice, bob, room_id, sliding = people
    encryption = Encryption(bob)
    encryption.sync()
    first, second = park(sliding), park(encryption)
    assert slot_of(first)[0] != slot_of(second)[0]
    assert len(registrations(bob)) == 2
    send(alice, room_id, "news")
    tell(RoomId(room_id))
    assert is_rung(sqs, first)
    assert is_rung(sqs, second)


def test_another_body_is_answered_at_once_and_waits_on_the_same_queue(people: People, sqs: Sqs) -> None:
    """An app opens a room. Its registration still stands, so nothing is registered again."""
    alice, bob, room_id, sliding = people
    for body in "abc":
        send(alice, room_id, body)
    sliding.sync()
    mark = park(sliding)
    (before,) = registrations(bob)
    opening = sliding.body(room_subscriptions={room_id: opened()})
    with mock.patch.object(engine, "assemble", side_effect=assembly.assemble) as looks:
        answer = sliding.peek(opening, timeout=LONG)
    assert looks.call_count == 1
    assert bodies(answer["rooms"][room_id])[-3:] == ["a", "b", "c"]
    assert slot_of(answer["pos"]) == slot_of(mark)
    assert answer["pos"].split(".")[6] != mark.split(".")[6], "it is good for the other body"
    assert registrations(bob) == [before]
    send(alice, room_id, "d")
    tell(RoomId(room_id))
    assert is_rung(sqs, answer["pos"])
    sliding.pos = marks.called(answer["pos"])
    assert bodies(sliding.sync(opening, timeout=LONG)["rooms"][room_id]) == ["d"]


def test_a_wait_that_was_rung_stands_no_more(people: People) -> None:
    """Its client sends another request before it gets the ring."""
    alice, bob, room_id, sliding = people
    mark = park(sliding)
    send(alice, room_id, "news")
    tell(RoomId(room_id))
    assert registrations(bob) == []
    answer = sliding.sync(sliding.body(room_subscriptions={room_id: opened()}), timeout=LONG)
    assert bodies(answer["rooms"][room_id])[-1] == "news"
    assert registrations(bob) == []
    assert answer["pos"].startswith("l0.")
    assert slot_of(park(sliding)) != slot_of(mark)


def test_a_message_between_the_registration_and_the_look_of_one_who_was_called(
    people: People, monkeypatch: pytest.MonkeyPatch, sqs: Sqs
) -> None:
    alice, _, room_id, sliding = people
    sliding.lists = {"all": all_rooms(timeline_limit=10)}
    sliding.sync()
    mark = park(sliding)
    send(alice, room_id, "first")
    tell(RoomId(room_id))
    is_unchanged = look.is_unchanged

    def late(first: look.Look) -> bool:
        found: bool = is_unchanged(first)
        with acting_for(None):
            send(alice, room_id, "second")
        tell(RoomId(room_id))
        return found

    monkeypatch.setattr(engine, "is_unchanged", late)
    sliding.pos = marks.called(mark)
    answer = sliding.sync(timeout=LONG)
    monkeypatch.undo()
    assert bodies(answer["rooms"][room_id]) in (["first"], ["first", "second"])
    if answer["pos"].startswith("lp_"):
        assert is_rung(sqs, answer["pos"])
        sliding.pos = marks.called(answer["pos"])
    rest = sliding.sync()["rooms"].get(room_id, {})
    assert [*bodies(answer["rooms"][room_id]), *bodies(rest)] == ["first", "second"]


@pytest.mark.parametrize("change", ["membership", "account data", "to-device"])
def test_a_change_while_the_registration_is_on_its_way(
    change: str, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, room_id, sliding = people
    sliding.extensions = {**ROOM_LIST, "to_device": {"enabled": True}}
    sliding.extensions["to_device"]["since"] = sliding.sync()["extensions"]["to_device"]["next_batch"]
    mark = park(sliding)
    send(alice, room_id, "news")
    register_next = waiting.register_next
    looked: list[Any] = []

    def late(*arguments: Any, **named: Any) -> Any:
        until(lambda: looked)
        with acting_for(None):
            if change == "membership":
                invite(alice, create_room(alice), bob)
            elif change == "account data":
                ok(bob.put(f"{V3}/user/{bob.user_id}/account_data/x", {"a": 1}))
            else:
                tell_device(alice, bob, n=1)
        return register_next(*arguments, **named)

    def looks(*arguments: Any) -> Any:
        found = look.look(*arguments)
        looked.append(found)
        return found

    monkeypatch.setattr(waiting, "register_next", late)
    monkeypatch.setattr(engine, "look", looks)
    sliding.pos = marks.called(mark)
    answer = sliding.sync(timeout=LONG)
    monkeypatch.undo()
    assert bodies(answer["rooms"][room_id]) == ["news"]
    assert answer["pos"].startswith("l0."), "it comes again at once"
    then = sliding.sync()
    seen = {**then["extensions"], "rooms": then["rooms"]}
    assert seen["rooms"] or seen.get("account_data") or seen["to_device"]["events"]


def test_a_message_while_it_registers_is_not_missed(people: People) -> None:
    alice, _, room_id, sliding = people
    genuine, looks = assembly.assemble, []

    def assemble(*args: Any, **given: Any) -> Any:
        answer = genuine(*args, **given)
        looks.append(1)
        if len(looks) == 1:
            send(alice, room_id, "just now")
            tell(RoomId(room_id))
        return answer

    with mock.patch.object(engine, "assemble", assemble):
        answer = sliding.peek(timeout=LONG)
    assert bodies(answer["rooms"][room_id]) == ["just now"]


def test_who_will_ask_otherwise_is_not_parked(people: People) -> None:
    """The next range depends on the number of rooms, and the next `since` on the messages."""
    alice, bob, _, sliding = people
    mark = park(sliding)
    invite(alice, create_room(alice), bob)
    sliding.pos = marks.called(mark)
    assert sliding.sync(timeout=LONG)["pos"].startswith("l0.")
    encryption = Encryption(bob)
    encryption.sync()
    mark = park(encryption)
    tell_device(alice, bob, n=1)
    encryption.pos = marks.called(mark)
    answer = encryption.sync(timeout=LONG)
    assert answer["extensions"]["to_device"]["events"]
    assert answer["pos"].startswith("l1.")
    assert park(encryption)


def test_what_is_left_for_the_next_answer_brings_no_mark(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, room_id, sliding = people
    other = create_room(alice, preset="public_chat")
    join(bob, other)
    sliding.sync()
    mark = park(sliding)
    for name in (room_id, other):
        send(alice, name, "x" * 40_000)
    monkeypatch.setattr(assembly, "LEAST_ROOM_BYTES", 60_000)
    monkeypatch.setattr(assembly, "LIST_BYTES", 0)
    sliding.pos = marks.called(mark)
    answer = sliding.sync(timeout=LONG)
    assert len(answer["rooms"]) == 1
    assert answer["pos"].startswith("l0.")
    assert len(sliding.sync(timeout=LONG)["rooms"]) == 1


def test_a_client_whose_body_is_refused_is_held(people: People) -> None:
    """So if a template can't compare bodies, clients don't repeat their requests at once without end."""
    alice, bob, room_id, sliding = people
    sliding.pos = marks.called(park(sliding), REFUSED_POS)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(sliding.peek, timeout=LONG)
        until(lambda: [wait for wait in registrations(bob) if not wait.kept])
        send(alice, room_id, "news")
        tell(RoomId(room_id))
        assert bodies(answer.result(PATIENCE_S)["rooms"][room_id]) == ["news"]


def test_a_client_is_held_that_should_not_have_come(people: People, impatient: list[Wait]) -> None:
    """The viewer function sends such a client to the queue, unless something fails on the way."""
    *_, sliding = people
    park(sliding)
    assert sliding.peek(timeout=LONG)["pos"].startswith("l0.")


def test_who_is_held_in_place_of_being_parked_hears_news(people: People) -> None:
    alice, bob, room_id, sliding = people
    park(sliding)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(sliding.peek, timeout=LONG)
        until(lambda: [wait for wait in registrations(bob) if not wait.kept])
        send(alice, room_id, "news")
        tell(RoomId(room_id))
        assert bodies(answer.result(PATIENCE_S)["rooms"][room_id]) == ["news"]


def test_a_queue_that_is_gone_is_made_again(people: People, sqs: Sqs, impatient: list[Wait]) -> None:
    *_, sliding = people
    mark = park(sliding)
    name = settings().queue(wake_queues.prefix() + mark.split(".")[2])
    sqs._queues.clear()
    sliding.pos = marks.called(mark, REFUSED_POS)
    sliding.peek(timeout=LONG)
    assert name in sqs._queues


def test_nobody_makes_queues_by_names_that_they_made_up(
    people: People, sqs: Sqs, impatient: list[Wait]
) -> None:
    *_, sliding = people
    fields = park(sliding).split(".")
    before = set(sqs._queues)
    fields[2] = "0" * 32
    for prefix in (REFUSED_POS, "lc_"):
        sliding.pos = marks.called(".".join(fields), prefix)
        sliding.peek(timeout=LONG)
    held = {name for name in sqs._queues if fields[2] in name}
    assert not held
    assert before <= set(sqs._queues)


@pytest.mark.parametrize("lists", [{"a~b": {}}, {"ü": {}}, {"x" * 200: {}, "y" * 200: {}, "z" * 200: {}}])
def test_who_does_not_fit_into_a_mark_is_held(lists: Any, people: People) -> None:
    alice, bob, room_id, sliding = people
    every = {f"{name}{number}": value for name, value in lists.items() for number in range(4)}
    sliding.lists = {name: {**sliding.lists["all"], **value} for name, value in every.items()}
    body = json.dumps(sliding.body(), ensure_ascii=False).encode()
    sliding.sync(body)  # type: ignore[arg-type]
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(sliding.peek, body, timeout=LONG)  # type: ignore[arg-type]
        until(lambda: [wait for wait in registrations(bob) if not wait.kept])
        send(alice, room_id, "news")
        tell(RoomId(room_id))
        assert bodies(answer.result(PATIENCE_S)["rooms"][room_id]) == ["news"]
    assert registrations(bob) == []


def test_a_mark_is_a_place_for_all_that_takes_one(people: People, make_client: Make) -> None:
    alice, bob, room_id, sliding = people
    mark = park(sliding)
    send(alice, room_id, "later")
    page = messages(bob, room_id, "f", **{"from": mark})
    assert [event["content"].get("body") for event in page["chunk"]] == ["later"]
    stranger = Sliding(make_client("carol"), pos=mark)
    assert stranger.ask().json["errcode"] == "M_UNKNOWN_POS"
    for made_up in ("lp_", "lp_0", mark.replace("lp_", "lq_"), f"{mark}.a.b"):
        sliding.pos = made_up
        assert sliding.ask().json["errcode"] == "M_UNKNOWN_POS", made_up


def test_a_logged_out_device_is_called_and_learns_it(people: People, sqs: Sqs) -> None:
    _, bob, _, sliding = people
    mark = park(sliding)
    ok(bob.post(f"{V3}/logout", {}))
    sliding.pos = marks.called(mark)
    assert sliding.ask(timeout=LONG).json["errcode"] == "M_UNKNOWN_TOKEN"


def test_typing_that_ends_by_itself_ends_the_mark(people: People) -> None:
    alice, _, room_id, sliding = people
    ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": True, "timeout": 30_000}))
    assert sliding.sync()["extensions"]["typing"]["rooms"][room_id]["content"]["user_ids"] == [alice.user_id]
    until_s = int(park(sliding).split(".")[4])
    assert until_s <= time.time() + 31


class TestDigest:
    def test_a_transactions_name_counts_for_nothing(self) -> None:
        body = '{"conn_id":"a","txn_id":"%s","lists":{}}'
        assert marks.digest_of(body % "1") == marks.digest_of(body % "22")

    @pytest.mark.parametrize(
        "other",
        ['{"lists":{"a":{"ranges":[[0,20]]}}}', '{"lists":{"b":{"ranges":[[0,19]]}}}', '{"lists":{}}', ""],
    )
    def test_another_body_has_another(self, other: str) -> None:
        assert marks.digest_of('{"lists":{"a":{"ranges":[[0,19]]}}}') != marks.digest_of(other)

    def test_texts_with_one_hash_code_differ_by_the_other(self) -> None:
        """In Java, `no` and `oP` have the same hash code. The second code is that of the texts without the
        letters up to `m`: for `zb` and `{C` it is the code of `z` and `{`.
        """
        first, second = (marks.digest_of(f'{{"!{part}:x":1}}').split("_") for part in ("zb", "{C"))
        assert first[0] == second[0]
        assert first[1] != second[1]


class TestOfKeys:
    """The connection for encryption is rung for what concerns it: Element X has one beside its rooms."""

    @pytest.fixture
    def encryption(self, people: People) -> Encryption:
        _, bob, *_ = people
        connection = Encryption(bob)
        connection.sync()
        park(connection)
        return connection

    def test_a_message_does_not_call_it(self, people: People, encryption: Encryption, sqs: Sqs) -> None:
        alice, bob, room_id, sliding = people
        mark = park(sliding)
        send(alice, room_id, "news")
        _tell_of_log(room_id, _ordinal(RoomId(room_id)) - 1)
        assert is_rung(sqs, mark)
        assert not is_rung(sqs, encryption.pos or "")
        assert [wait.of_keys for wait in registrations(bob)] == [True]

    @pytest.mark.parametrize("change", ["state", "leaving", "message to the device", "keys", "devices"])
    def test_what_concerns_it_does(
        self, change: str, people: People, encryption: Encryption, sqs: Sqs
    ) -> None:
        alice, bob, room_id, _ = people
        before = _ordinal(RoomId(room_id))
        items: list[Any] = []
        if change == "state":
            set_state(alice, room_id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
        elif change == "leaving":
            leave(alice, room_id)
        elif change == "message to the device":
            tell_device(alice, bob, n=1)
            items = streams_of(f"device:{bob.user_id}/{bob.device_id}")
        elif change == "keys":
            keys = {"signed_curve25519:a": {"key": "x", "signatures": {}}}
            ok(bob.post(f"{V3}/keys/upload", {"one_time_keys": keys}))
            items = streams_of(f"device:{bob.user_id}/{bob.device_id}")
        else:
            device = crypto.device_keys(alice.user_id, alice.device_id, crypto.KeyPair(alice.device_id))
            ok(alice.post(f"{V3}/keys/upload", {"device_keys": device}))
            items = streams_of(f"room:{room_id}")
        if items:
            with acting_for(None):
                wakes.wake_for_stream_items(items)
        else:
            _tell_of_log(room_id, before)
        assert is_rung(sqs, encryption.pos or "")

    def test_typing_and_receipts_do_not_call_it(
        self, people: People, encryption: Encryption, sqs: Sqs
    ) -> None:
        alice, _, room_id, sliding = people
        mark = park(sliding)
        ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": True, "timeout": 5_000}))
        with acting_for(None):
            wakes.wake_for_stream_items(streams_of(f"room:{room_id}"))
        assert is_rung(sqs, mark)
        assert not is_rung(sqs, encryption.pos or "")

    def test_its_wait_is_not_good_for_rooms(self, people: People, encryption: Encryption) -> None:
        """The same connection now asks for rooms."""
        _, bob, *_ = people
        body = {**encryption.body(), "lists": {"all": all_rooms()}}
        encryption.sync(body)
        answer = encryption.sync(body, timeout=LONG)
        kinds = {wait.slot: wait.of_keys for wait in registrations(bob)}
        assert kinds[slot_of(answer["pos"])] is False


def _ordinal(room_id: RoomId) -> int:
    head = room_items.read_head(room_id)
    assert head is not None
    return head.ordinal


def _tell_of_log(room_id: str, after: int) -> None:
    """Do what the Streams worker does after events of a room."""
    values: Values = {":room": room_id, ":after": after}
    with acting_for(None):
        found = dynamodb.query("room-log", "room_id = :room AND ordinal > :after", values)
        assert found
        wakes.wake_for_log_entries(found)


def streams_of(stream: str) -> list[Any]:
    """Return the items of a stream."""
    with acting_for(None):
        return dynamodb.query("streams", "stream_id = :stream", {":stream": stream})
