"""Extensions of sliding sync: messages to the device, encryption, account data, receipts, typing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.sync import account
from tests.in_process import Client
from tests.keys import crypto
from tests.logged_in import log_in
from tests.rooms.people import V3, create_room, join, leave, ok, path, send
from tests.sliding_sync.client import ROOM_LIST, Sliding, all_rooms, opened

Make = Callable[..., Client]
_numbers = itertools.count(1)


def tell(sender: Client, receiver: Client, **content: Any) -> None:
    """Send a message to a device."""
    body = {"messages": {receiver.user_id: {receiver.device_id: content}}}
    ok(sender.put(f"{V3}/sendToDevice/org.example/{next(_numbers)}", body))


def encrypted(client: Client, **body: Any) -> str:
    content = {"algorithm": "m.megolm.v1.aes-sha2"}
    initial = [{"type": "m.room.encryption", "state_key": "", "content": content}]
    return create_room(client, initial_state=initial, **body)


class Encryption(Sliding):
    """The connection that Element X has for encryption; `since` is the place in the device's messages."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, "encryption", lists={})
        self.since: str | None = None

    def body(self, **more: Any) -> dict[str, Any]:
        to_device = {"enabled": True} | ({"since": self.since} if self.since else {})
        return {
            "conn_id": self.conn_id,
            "extensions": {"to_device": to_device, "e2ee": {"enabled": True}},
        } | more

    def sync(self, body: dict[str, Any] | None = None, **query: Any) -> Any:
        answer = super().sync(body, **query)
        self.since = answer["extensions"]["to_device"]["next_batch"]
        return answer

    def messages(self) -> list[int]:
        events = self.sync()["extensions"]["to_device"]["events"]
        return [event["content"]["n"] for event in events]


class TestToDevice:
    def test_messages_stay_until_their_place_comes_back(self, alice: Client, bob: Client) -> None:
        connection = Encryption(bob)
        connection.sync()
        for number in range(3):
            tell(alice, bob, n=number)
        first, again = (connection.peek()["extensions"]["to_device"] for _ in range(2))
        assert first == again
        assert [event["content"]["n"] for event in first["events"]] == [0, 1, 2]
        assert connection.messages() == [0, 1, 2]
        assert connection.messages() == []
        connection.since = None
        assert connection.messages() == [], "they were deleted"

    def test_a_new_connection_goes_on_where_the_device_was(self, alice: Client, bob: Client) -> None:
        connection = Encryption(bob)
        tell(alice, bob, n=1)
        assert connection.messages() == [1]
        tell(alice, bob, n=2)
        connection.pos = None
        assert connection.messages() == [2]

    def test_what_a_lost_connection_brought_comes_again(self, alice: Client, bob: Client) -> None:
        tell(alice, bob, n=1)
        assert Encryption(bob).messages() == [1]
        assert Encryption(bob).messages() == [1]

    def test_to_device_messages_come_to_their_device_only(self, alice: Client, bob: Client) -> None:
        other = log_in(UserId(bob.user_id), DeviceId("OTHER"))
        tell(alice, other, n=1)
        assert Encryption(bob).messages() == []
        assert Encryption(other).messages() == [1]

    def test_as_many_come_as_are_asked_for(self, alice: Client, bob: Client) -> None:
        for number in range(3):
            tell(alice, bob, n=number)
        connection = Encryption(bob)
        for number in range(3):
            to_device = {"enabled": True, "limit": 1, "since": connection.since}
            answer = connection.sync({"conn_id": "encryption", "extensions": {"to_device": to_device}})
            events = answer["extensions"]["to_device"]["events"]
            assert [event["content"]["n"] for event in events] == [number]

    def test_a_place_beyond_all_loses_nothing(self, alice: Client, bob: Client) -> None:
        connection = Encryption(bob)
        connection.since = "d999999"
        assert connection.messages() == []
        tell(alice, bob, n=1)
        assert connection.messages() == [1]


class TestKeys:
    def test_counts_come_with_each_answer(self, alice: Client) -> None:
        device = crypto.KeyPair(alice.device_id)
        ok(
            alice.post(
                f"{V3}/keys/upload",
                {"device_keys": crypto.device_keys(alice.user_id, alice.device_id, device)},
            )
        )
        connection = Encryption(alice)
        e2ee = connection.sync()["extensions"]["e2ee"]
        assert e2ee == {"device_one_time_keys_count": {}, "device_unused_fallback_key_types": []}
        keys = crypto.one_time_keys(alice.user_id, device, ["A", "B"])
        ok(alice.post(f"{V3}/keys/upload", {"one_time_keys": keys}))
        for _ in range(2):
            e2ee = connection.sync()["extensions"]["e2ee"]
            assert e2ee["device_one_time_keys_count"] == {"signed_curve25519": 2}

    def test_who_comes_and_who_goes(self, alice: Client, bob: Client) -> None:
        room_id = encrypted(alice, preset="public_chat")
        connection = Encryption(alice)
        assert "device_lists" not in connection.sync()["extensions"]["e2ee"]
        join(bob, room_id)
        lists = connection.sync()["extensions"]["e2ee"]["device_lists"]
        assert (lists["changed"], lists["left"]) == ([bob.user_id], [])
        send(bob, room_id, "hello")
        assert "device_lists" not in connection.sync()["extensions"]["e2ee"]
        leave(bob, room_id)
        assert connection.sync()["extensions"]["e2ee"]["device_lists"]["left"] == [bob.user_id]

    def test_who_joins_learns_of_all_members(self, alice: Client, bob: Client) -> None:
        room_id = encrypted(alice, preset="public_chat")
        connection = Encryption(bob)
        connection.sync()
        join(bob, room_id)
        assert connection.sync()["extensions"]["e2ee"]["device_lists"]["changed"] == [alice.user_id]
        leave(bob, room_id)
        assert connection.sync()["extensions"]["e2ee"]["device_lists"]["left"] == [alice.user_id]
        assert "device_lists" not in connection.sync()["extensions"]["e2ee"]

    def test_a_room_that_becomes_encrypted(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        connection = Encryption(bob)
        connection.sync()
        ok(alice.put(path(room_id, "state", "m.room.encryption", ""), {"algorithm": "m.megolm.v1.aes-sha2"}))
        assert connection.sync()["extensions"]["e2ee"]["device_lists"]["changed"] == [alice.user_id]

    def test_changed_devices_in_any_room_and_ones_own(self, alice: Client, bob: Client) -> None:
        room_id = encrypted(alice, preset="public_chat")
        join(bob, room_id)
        connection = Encryption(alice)
        connection.sync()
        device = crypto.KeyPair(bob.device_id)
        keys = crypto.device_keys(bob.user_id, bob.device_id, device)
        ok(bob.post(f"{V3}/keys/upload", {"device_keys": keys}))
        assert connection.sync()["extensions"]["e2ee"]["device_lists"]["changed"] == [bob.user_id]
        mine = crypto.KeyPair(alice.device_id)
        keys = crypto.device_keys(alice.user_id, alice.device_id, mine)
        ok(alice.post(f"{V3}/keys/upload", {"device_keys": keys}))
        assert connection.sync()["extensions"]["e2ee"]["device_lists"]["changed"] == [alice.user_id]

    def test_an_answer_that_was_given_up_uses_nothing_up(self, alice: Client, bob: Client) -> None:
        room_id = encrypted(alice, preset="public_chat")
        connection = Encryption(alice)
        connection.sync()
        join(bob, room_id)
        for _ in range(2):
            lists = connection.peek()["extensions"]["e2ee"]["device_lists"]
            assert lists["changed"] == [bob.user_id]


def account_data(answer: Any) -> dict[str, Any]:
    events = answer["extensions"].get("account_data", {}).get("global", ())
    return {event["type"]: event["content"] for event in events}


def of_room(answer: Any, extension: str, room_id: str) -> Any:
    return answer["extensions"].get(extension, {}).get("rooms", {}).get(room_id)


class TestAccountData:
    def test_all_comes_at_first_then_what_changed(self, alice: Client) -> None:
        base = f"{V3}/user/{alice.user_id}/account_data"
        ok(alice.put(f"{base}/org.example.one", {"n": 1}))
        sliding = Sliding(alice, extensions=ROOM_LIST)
        first = account_data(sliding.sync())
        assert first["org.example.one"] == {"n": 1}
        assert "global" in first["m.push_rules"]
        assert account_data(sliding.sync()) == {}
        ok(alice.put(f"{base}/org.example.one", {"n": 2}))
        assert account_data(sliding.peek()) == {"org.example.one": {"n": 2}}
        assert account_data(sliding.sync()) == {"org.example.one": {"n": 2}}
        assert account_data(sliding.sync()) == {}

    def test_much_of_it_comes_in_several_answers(
        self, alice: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(account, "ACCOUNT_BYTES", 500)
        for number in range(6):
            ok(alice.put(f"{V3}/user/{alice.user_id}/account_data/org.example.{number}", {"x": "y" * 200}))
        sliding = Sliding(alice, extensions=ROOM_LIST)
        found: list[str] = []
        while got := account_data(sliding.sync()):
            assert len(got) < 6
            found += got
        assert sorted(found) == ["m.push_rules", *(f"org.example.{number}" for number in range(6))]

    def test_what_changed_while_nobody_asked_comes_when_somebody_does(self, alice: Client) -> None:
        room_id = create_room(alice)
        sliding = Sliding(alice, extensions=ROOM_LIST)
        sliding.sync()
        sliding.extensions = {}
        ok(alice.put(f"{V3}/user/{alice.user_id}/account_data/org.example", {"n": 1}))
        ok(alice.put(f"{V3}/user/{alice.user_id}/rooms/{room_id}/tags/m.favourite", {}))
        send(alice, room_id, "x")
        sliding.sync()
        sliding.extensions = ROOM_LIST
        answer = sliding.sync()
        assert account_data(answer)["org.example"] == {"n": 1}
        (tags,) = of_room(answer, "account_data", room_id)
        assert tags["type"] == "m.tag"
        assert sliding.sync()["extensions"] == {}

    def test_a_rooms_data_come_with_it_and_when_they_change(self, alice: Client) -> None:
        room_id = create_room(alice)
        tags = f"{V3}/user/{alice.user_id}/rooms/{room_id}/tags"
        ok(alice.put(f"{tags}/m.favourite", {"order": 0.5}))
        sliding = Sliding(alice, extensions=ROOM_LIST)
        (event,) = of_room(sliding.sync(), "account_data", room_id)
        assert event == {"type": "m.tag", "content": {"tags": {"m.favourite": {"order": 0.5}}}}
        ok(alice.delete(f"{tags}/m.favourite"))
        (event,) = of_room(sliding.sync(), "account_data", room_id)
        assert event["content"] == {"tags": {}}
        assert of_room(sliding.sync(), "account_data", room_id) is None

    def test_data_of_a_room_out_of_sight_come_when_it_is_seen(self, alice: Client) -> None:
        first, second = create_room(alice), create_room(alice)
        sliding = Sliding(alice, lists={"all": all_rooms(1)}, extensions=ROOM_LIST)
        sliding.sync()
        sliding.lists["all"] = all_rooms(0)
        ok(alice.put(f"{V3}/user/{alice.user_id}/rooms/{first}/tags/m.favourite", {}))
        assert of_room(sliding.sync(), "account_data", first) is None
        sliding.lists["all"] = all_rooms(1)
        (event,) = of_room(sliding.sync(), "account_data", first)
        assert event["type"] == "m.tag"
        assert of_room(sliding.sync(), "account_data", first) is None
        assert second


class TestEphemeral:
    def test_receipts(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        event_id = send(alice, room_id, "hello")
        sliding = Sliding(alice, extensions=ROOM_LIST)
        assert of_room(sliding.sync(), "receipts", room_id) is None
        ok(bob.post(path(room_id, "receipt", "m.read", event_id)))
        for _ in range(2):
            receipt = of_room(sliding.peek(), "receipts", room_id)
            assert receipt["type"] == "m.receipt"
            assert list(receipt["content"][event_id]["m.read"]) == [bob.user_id]
        assert room_id not in sliding.sync()["rooms"]
        assert of_room(sliding.sync(), "receipts", room_id) is None
        receipt = of_room(Sliding(alice, "other", extensions=ROOM_LIST).sync(), "receipts", room_id)
        assert list(receipt["content"][event_id]["m.read"]) == [bob.user_id]

    def test_at_first_others_receipts_come_for_the_events_shown(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        earlier = send(alice, room_id, "earlier")
        for reader in (alice, bob):
            ok(reader.post(path(room_id, "receipt", "m.read", earlier)))
        ok(alice.post(path(room_id, "receipt", "m.read.private", earlier)))
        send(bob, room_id, "later")
        content = of_room(Sliding(alice, extensions=ROOM_LIST).sync(), "receipts", room_id)["content"]
        assert list(content) == [earlier]
        assert {kind: list(users) for kind, users in content[earlier].items()} == {
            "m.read": [alice.user_id],
            "m.read.private": [alice.user_id],
        }

    def test_typing_and_its_end(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        sliding = Sliding(alice, extensions=ROOM_LIST)
        sliding.sync()
        typing = path(room_id, "typing", bob.user_id)
        ok(bob.put(typing, {"typing": True}))
        event = of_room(sliding.sync(), "typing", room_id)
        assert event == {"type": "m.typing", "content": {"user_ids": [bob.user_id]}}
        ok(bob.put(typing, {"typing": False}))
        assert of_room(sliding.sync(), "typing", room_id)["content"] == {"user_ids": []}
        assert of_room(sliding.sync(), "typing", room_id) is None

    def test_an_extension_may_be_for_some_rooms(self, alice: Client, bob: Client) -> None:
        in_list, subscribed = (
            create_room(alice, preset="public_chat"),
            create_room(alice, preset="public_chat"),
        )
        send(alice, in_list, "up")
        for room_id in (in_list, subscribed):
            join(bob, room_id)
            ok(bob.put(path(room_id, "typing", bob.user_id), {"typing": True}))
        send(alice, in_list, "up")

        def typing(**scope: Any) -> set[str]:
            sliding = Sliding(
                alice,
                lists={"top": all_rooms(0)},
                subscriptions={subscribed: opened()},
                extensions={"typing": {"enabled": True, **scope}},
            )
            return set(sliding.sync()["extensions"].get("typing", {}).get("rooms", {}))

        assert typing() == {in_list, subscribed}
        assert typing(lists=[]) == {subscribed}
        assert typing(rooms=[]) == {in_list}
        assert typing(lists=[], rooms=[subscribed]) == {subscribed}
        assert typing(lists=["other"], rooms=["!x:y"]) == set()
