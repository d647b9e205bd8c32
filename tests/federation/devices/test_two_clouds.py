"""Two local clouds over TLS: an encrypted conversation, to-device messages, typing and receipts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from local_cloud.testing import LocalCloud
from tests.federation.membership.test_two_clouds import User, said
from tests.keys.crypto import KeyPair, device_keys

V3 = "/_matrix/client/v3"
_numbers = itertools.count(1)


class Device(User):
    """A user who collects the messages from device to device that syncs bring."""

    def __init__(self, cloud: LocalCloud, name: str) -> None:
        super().__init__(cloud, name)
        self.device_id = self.call("GET", f"{V3}/account/whoami")["device_id"]
        self.messages: list[Any] = []

    def until(self, found: Callable[[Any], Any]) -> Any:
        def collect(body: Any) -> Any:
            self.messages += [event["content"] for event in body.get("to_device", {}).get("events", [])]
            return found(body)

        return super().until(collect)

    def tell(self, other: Device, content: Any, txn_id: str = "") -> None:
        txn_id = txn_id or f"t{next(_numbers)}"
        wanted = {other.user_id: {other.device_id: content}}
        self.call("PUT", f"{V3}/sendToDevice/m.test/{txn_id}", {"messages": wanted})


def share_room(alice: User, bob: User, **body: Any) -> str:
    """Return a room of Alice's in which Bob, of another server, is."""
    body = {"preset": "private_chat", "invite": [bob.user_id], **body}
    room_id: str = alice.call("POST", f"{V3}/createRoom", body)["room_id"]
    bob.until(lambda answer: room_id in answer.get("rooms", {}).get("invite", {}))
    bob.call("POST", f"{V3}/join/{quote(room_id)}", {})
    return room_id


def test_messages_between_devices_come_once_through_an_outage_and_a_crash(two: list[LocalCloud]) -> None:
    alice, bob = Device(two[0], "alice-md"), Device(two[1], "bob-md")
    room_id = share_room(alice, bob)
    for number in range(3):
        alice.tell(bob, {"n": number})
    bob.until(lambda _: len(bob.messages) >= 3)
    two[1].kill9()
    for number in range(3, 6):
        alice.tell(bob, {"n": number}, txn_id=f"same{number}")
        alice.tell(bob, {"n": number}, txn_id=f"same{number}")
    two[0].kill9()
    for cloud in two:
        cloud.start()
    # Bob's server is known to be there again once it sends something.
    where = f"{V3}/rooms/{quote(room_id)}/send/m.room.message"
    bob.call("PUT", f"{where}/b1", {"msgtype": "m.text", "body": "I am back"})
    alice.until(said(room_id, "I am back"))
    alice.call("PUT", f"{where}/a1", {"msgtype": "m.text", "body": "good"})
    bob.until(lambda _: len(bob.messages) >= 6)
    bob.tell(alice, {"n": "last"})
    alice.until(lambda _: alice.messages)
    assert bob.messages == [{"n": number} for number in range(6)]
    assert alice.messages == [{"n": "last"}]


def ephemeral(room_id: str, kind: str, test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return whether a sync contains such an event of the room."""

    def found(body: Any) -> bool:
        room = body.get("rooms", {}).get("join", {}).get(room_id, {})
        events = room.get("ephemeral", {}).get("events", [])
        return any(event["type"] == kind and test(event["content"]) for event in events)

    return found


def test_typing_and_receipts(two: list[LocalCloud]) -> None:
    """Bob sends once that he types and that he doesn't, while Alice waits or between two of her requests."""
    alice, bob = Device(two[0], "alice-tr"), Device(two[1], "bob-tr")
    room_id = share_room(alice, bob)
    where = f"{V3}/rooms/{quote(room_id)}"

    def say(text: str, **more: Any) -> str:
        body = {"msgtype": "m.text", "body": text, **more}
        sent = alice.call("PUT", f"{where}/send/m.room.message/{next(_numbers)}", body)
        bob.until(said(room_id, text))
        return str(sent["event_id"])

    root = say("read me")
    reply = say("in a thread", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    for event_id, body in ((root, {}), (reply, {"thread_id": root})):
        bob.call("POST", f"{where}/receipt/m.read/{quote(event_id)}", body)

        def is_read(content: Any, event_id: str = event_id, body: Any = body) -> bool:
            data = content.get(event_id, {}).get("m.read", {}).get(bob.user_id)
            return data is not None and data.get("thread_id") == body.get("thread_id")

        alice.until(ephemeral(room_id, "m.receipt", is_read))
    for is_typing in (True, False):
        typing = {"typing": is_typing, "timeout": 20_000}
        bob.call("PUT", f"{where}/typing/{quote(bob.user_id)}", typing)
        users = [bob.user_id] if is_typing else []
        alice.until(ephemeral(room_id, "m.typing", lambda content, users=users: content["user_ids"] == users))  # type: ignore[misc]


def test_changes_of_devices_are_told_to_who_never_asked(two: list[LocalCloud]) -> None:
    alice, bob = Device(two[0], "alice-cd"), Device(two[1], "bob-cd")
    encryption = {
        "type": "m.room.encryption",
        "state_key": "",
        "content": {"algorithm": "m.megolm.v1.aes-sha2"},
    }
    alice.until(lambda _: True)
    share_room(alice, bob, initial_state=[encryption])

    def is_told(body: Any) -> bool:
        return bob.user_id in body.get("device_lists", {}).get("changed", [])

    alice.until(is_told)  # they share a room now
    keys = device_keys(bob.user_id, bob.device_id, KeyPair(bob.device_id))
    bob.call("POST", f"{V3}/keys/upload", {"device_keys": keys})
    alice.until(is_told)
    for name in ("phone", "old phone"):
        bob.call("PUT", f"{V3}/devices/{bob.device_id}", {"display_name": name})
        alice.until(is_told)


def test_an_encrypted_conversation(two: list[LocalCloud], tmp_path: Path) -> None:
    """Real clients query and claim keys across servers, and notice a login and a logout."""
    pytest.importorskip("nio", reason="matrix-nio is not installed")
    pytest.importorskip("vodozemac", reason="matrix-nio's e2e extra is not installed")
    asyncio.run(_whisper(two, tmp_path))


async def _whisper(two: list[LocalCloud], folder: Path) -> None:
    from nio import responses

    from tests.e2e.people import Events, ok, person
    from tests.e2e.test_encrypted_room import ENCRYPTION, a_new_device_is_announced, in_touch, whisper_to

    stores = [folder / "carol", folder / "dave"]
    for store in stores:
        store.mkdir()
    async with (
        person(two[0].url, "carol", store=stores[0]) as carol,
        person(two[1].url, "dave", store=stores[1]) as dave,
    ):
        heard = {carol: Events(carol), dave: Events(dave)}
        for client in (carol, dave):
            ok(await client.keys_upload(), responses.KeysUploadResponse)
            ok(await client.sync())
        created = await carol.room_create(invite=[dave.user_id], initial_state=[ENCRYPTION])
        room_id = ok(created).room_id
        await dave.sync_until(lambda: room_id in dave.invited_rooms)
        ok(await dave.join(room_id))
        await carol.sync_until(lambda: in_touch(carol, room_id, dave))
        await dave.sync_until(lambda: in_touch(dave, room_id, carol))
        await whisper_to(room_id, carol, dave, heard[dave], "The eagle flies at midnight")
        await whisper_to(room_id, dave, carol, heard[carol], "Which eagle?")
        await a_new_device_is_announced(two[1], room_id, carol, dave, folder)
