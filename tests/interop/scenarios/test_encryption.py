"""Encryption and ephemera between a Synapse and ours: keys, device lists, messages and receipts."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.keys.crypto import CrossSigning, KeyPair, device_keys, one_time_keys

from .conftest import Pair
from .people import PATIENCE_S, Person, Room, eventually, where
from .servers import Ours, Theirs, stopped

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("synapse")]

ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
_numbers = itertools.count(1)


class Device:
    """A person's device, which notes what syncs bring beside events."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.user_id = person.user_id
        self.device_id = str(person.call("GET", "/account/whoami")["device_id"])
        self.pair = KeyPair(self.device_id)
        self.messages: list[Any] = []
        self.known: set[str] = set()
        self.changed: set[str] = set()
        self.master: dict[str, str] = {}
        self._followed = ""
        self.ephemeral: dict[tuple[str, str], Any] = {}
        self._since = ""

    def publish(self, *names: str) -> None:
        keys = device_keys(self.user_id, self.device_id, self.pair)
        one_time = one_time_keys(self.user_id, self.pair, list(names))
        self.person.call("POST", "/keys/upload", {"device_keys": keys, "one_time_keys": one_time})

    def sync(self) -> None:
        query = {"timeout": "3000", **({"since": self._since} if self._since else {})}
        body = self.person.call("GET", "/sync", **query)
        self._since = body["next_batch"]
        self.messages += [event["content"] for event in body.get("to_device", {}).get("events", [])]
        changed = body.get("device_lists", {}).get("changed", [])
        self.changed |= set(changed)
        if self._followed in changed:
            self._look_up()
        for room_id, section in body.get("rooms", {}).get("join", {}).items():
            for event in section.get("ephemeral", {}).get("events", []):
                self.ephemeral[room_id, event["type"]] = event["content"]

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 2 * PATIENCE_S
        while time.monotonic() < deadline:
            if condition():
                return
            self.sync()
        raise AssertionError(f"{self.user_id} waited in vain for {what}")

    def query(self, user_id: str) -> Any:
        return self.person.call("POST", "/keys/query", {"device_keys": {user_id: []}, "timeout": 10_000})

    def follow(self, other: Device) -> None:
        """Query another user's keys, now and whenever a sync says that they changed, as clients do."""
        self._followed = other.user_id
        self._look_up()
        assert self.known == {other.device_id}

    def _look_up(self) -> None:
        found = self.query(self._followed)
        self.known = set(found["device_keys"].get(self._followed, {}))
        self.master = found.get("master_keys", {}).get(self._followed, {}).get("keys", {})

    def tell(self, other: Device, content: Any, *, times: int = 1) -> None:
        """Send a message. Repeat it `times` times, as clients do that got no answer."""
        body = {"messages": {other.user_id: {other.device_id: content}}}
        path = f"/sendToDevice/m.test/t{next(_numbers)}"
        for _ in range(times):
            self.person.call("PUT", path, body)


def encrypted_room(pair: Pair) -> tuple[Device, Device, str]:
    """Return devices with keys of a host and a guest who share an encrypted room."""
    host, guest = pair.people()
    room_id = host.create("10", initial_state=[ENCRYPTION])
    devices = Device(host), Device(guest)
    for device in devices:
        device.publish("A", "B", "C")
        device.sync()
    guest.join(room_id, host.server_name)
    host.sees_member(room_id, guest.user_id, "join")
    guest.is_told(room_id, "join")
    return (*devices, room_id)


def second_device(of: Device) -> Device:
    """Log the user in once more, and return the new device."""
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": of.user_id},
        "password": "correct horse battery staple",
    }
    answer = of.person.call("POST", "/login", body)
    person = Person.__new__(Person)
    person.url, person.server_name, person.user_id = of.person.url, of.person.server_name, of.user_id
    person.token, person.since, person.rooms = str(answer["access_token"]), "", dict[str, Room]()
    return Device(person)


def test_keys_are_looked_up_and_claimed_once(pair: Pair) -> None:
    host, guest, _ = encrypted_room(pair)
    found = host.query(guest.user_id)
    assert found["failures"] == {}
    expected = device_keys(guest.user_id, guest.device_id, guest.pair)["keys"]
    assert found["device_keys"][guest.user_id][guest.device_id]["keys"] == expected
    body = {"one_time_keys": {guest.user_id: {guest.device_id: "signed_curve25519"}}}
    claimed = [host.person.call("POST", "/keys/claim", body)["one_time_keys"] for _ in range(3)]
    names = [next(iter(answer[guest.user_id][guest.device_id])) for answer in claimed]
    assert sorted(names) == [f"signed_curve25519:{name}" for name in "ABC"]


def test_logins_and_logouts_are_noticed(pair: Pair) -> None:
    host, guest, _ = encrypted_room(pair)
    host.follow(guest)
    for _ in range(2):
        another = second_device(guest)
        another.publish("X")
        host.until(lambda: host.known == {guest.device_id, another.device_id}, "a login")  # noqa: B023
        another.person.call("POST", "/logout")
        host.until(lambda: host.known == {guest.device_id}, "a logout")


def test_changes_are_told_to_who_never_asks(pair: Pair) -> None:
    host, guest, _ = encrypted_room(pair)
    host.until(lambda: guest.user_id in host.changed, "that they share a room")
    for _ in range(3):
        host.changed.clear()
        second_device(guest).publish("X")
        host.until(lambda: guest.user_id in host.changed, "a login")


def test_cross_signing_keys_are_noticed(pair: Pair) -> None:
    host, guest, _ = encrypted_room(pair)
    host.follow(guest)
    keys = CrossSigning(guest.user_id)
    guest.person.call("POST", "/keys/device_signing/upload", keys.body())
    host.until(lambda: host.master == keys.key("master")["keys"], "cross-signing keys")


def test_messages_from_device_to_device(pair: Pair) -> None:
    host, guest, _ = encrypted_room(pair)
    for number in range(5):
        host.tell(guest, {"n": number})
    guest.until(lambda: len(guest.messages) >= 5, "messages")
    assert guest.messages == [{"n": number} for number in range(5)]


def test_an_outage_loses_no_message_and_no_device(pair: Pair) -> None:
    host, guest, room_id = encrypted_room(pair)
    guest.follow(host)
    with stopped(pair.guest):
        for number in range(3):
            host.tell(guest, {"n": number})
        another = second_device(host)
        another.publish("X")
    guest.person.say(room_id, "back")
    host.person.hears(room_id, "back")
    host.person.say(room_id, "good")
    guest.until(lambda: len(guest.messages) >= 3, "messages")
    assert guest.messages == [{"n": number} for number in range(3)]
    guest.until(lambda: guest.known == {host.device_id, another.device_id}, "the new device")


def test_messages_come_once_through_a_crash(ours: Ours, theirs: Theirs) -> None:
    """Our server is killed while messages go both ways, and clients repeat their requests."""
    host, guest, room_id = encrypted_room(Pair(ours, theirs))
    for number in range(3):
        host.tell(guest, {"n": number}, times=2)
        guest.tell(host, {"n": number}, times=2)
    ours.cloud.kill9()
    for number in range(3, 6):
        guest.tell(host, {"n": number}, times=2)
    ours.start()
    for number in range(3, 6):
        host.tell(guest, {"n": number}, times=2)
    ours.cloud.kill9()
    ours.start()
    guest.person.say(room_id, "still here?")
    # Not by a sync, which would take the messages for delivered.
    eventually(lambda: "still here?" in host.person.history_texts(room_id), "the server is back", 90)
    for device in (host, guest):
        device.until(lambda device=device: len(device.messages) >= 6, "messages")  # type: ignore[misc]
    host.tell(guest, {"n": "last"})
    guest.tell(host, {"n": "last"})
    for device in (host, guest):
        device.until(lambda device=device: {"n": "last"} in device.messages, "the last")  # type: ignore[misc]
        assert device.messages == [*({"n": number} for number in range(6)), {"n": "last"}]


def test_typing(pair: Pair) -> None:
    """Typing is only accepted while somebody waits for news, so the guest repeats it until the host
    was told.
    """
    host, guest, room_id = encrypted_room(pair)
    path = f"{where(room_id)}/typing/{quote(guest.user_id)}"
    over = threading.Event()

    def keep_typing() -> None:
        flags = itertools.cycle([True, False])
        while not over.wait(0.5):
            guest.person.call("PUT", path, {"typing": next(flags), "timeout": 20_000})

    thread = threading.Thread(target=keep_typing)
    thread.start()
    try:
        host.until(
            lambda: host.ephemeral.get((room_id, "m.typing"), {}).get("user_ids") == [guest.user_id], "typing"
        )
    finally:
        over.set()
        thread.join()


def test_receipts(pair: Pair) -> None:
    host, guest, room_id = encrypted_room(pair)
    event_id = host.person.say(room_id, "read me")
    guest.person.hears(room_id, "read me")
    guest.person.call("POST", f"{where(room_id)}/receipt/m.read/{quote(event_id)}")

    def is_read() -> bool:
        receipts = host.ephemeral.get((room_id, "m.receipt"), {})
        return guest.user_id in receipts.get(event_id, {}).get("m.read", {})

    host.until(is_read, "a receipt")


def test_receipts_of_threads(pair: Pair) -> None:
    host, guest, room_id = encrypted_room(pair)
    root = host.person.say(room_id, "root")
    relation = {"rel_type": "m.thread", "event_id": root}
    content = {"msgtype": "m.text", "body": "reply", "m.relates_to": relation}
    reply = host.person.send(room_id, "m.room.message", content)
    guest.person.hears(room_id, "reply")
    for event_id, thread_id in ((root, "main"), (reply, root)):
        path = f"{where(room_id)}/receipt/m.read/{quote(event_id)}"
        guest.person.call("POST", path, {"thread_id": thread_id})

        def is_read(event_id: str = event_id, thread_id: str = thread_id) -> bool:
            of_event = host.ephemeral.get((room_id, "m.receipt"), {}).get(event_id, {})
            return bool(of_event.get("m.read", {}).get(guest.user_id, {}).get("thread_id") == thread_id)

        host.until(is_read, "a receipt")


def test_profiles(pair: Pair) -> None:
    host, guest = pair.people()
    guest.call("PUT", f"/profile/{guest.user_id}/displayname", {"displayname": "Ünlü"})
    assert host.call("GET", f"/profile/{quote(guest.user_id)}/displayname") == {"displayname": "Ünlü"}
