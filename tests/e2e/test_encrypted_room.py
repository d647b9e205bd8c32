"""Two people in an encrypted room: their clients exchange keys through the server, which can read nothing."""

from __future__ import annotations

import asyncio
import functools
import json

import nio
import pytest
from nio import responses

from tests.e2e.people import Events, Person, ok, person, text
from tests.e2e.raw import segment

pytest.importorskip("vodozemac", reason="matrix-nio's e2e extra is not installed")

ENCRYPTION = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}


def test_an_encrypted_room(shared_cloud, tmp_path):
    asyncio.run(whisper(shared_cloud, tmp_path))


async def whisper(cloud, folder):
    stores = [folder / "carol", folder / "dave"]
    for store in stores:
        store.mkdir()
    async with (
        person(cloud.url, "carol", store=stores[0]) as carol,
        person(cloud.url, "dave", store=stores[1]) as dave,
    ):
        heard = {carol: Events(carol), dave: Events(dave)}
        for client in (carol, dave):
            ok(await client.keys_upload(), responses.KeysUploadResponse)
            ok(await client.sync())
            assert not client.should_upload_keys, "the server counts as many one-time keys as were uploaded"
        room_id = ok(await carol.room_create(invite=[dave.user_id], initial_state=[ENCRYPTION])).room_id
        await dave.sync_until(lambda: room_id in dave.invited_rooms)
        ok(await dave.join(room_id))
        await carol.sync_until(lambda: in_touch(carol, room_id, dave))
        await dave.sync_until(lambda: in_touch(dave, room_id, carol))

        await whisper_to(room_id, carol, dave, heard[dave], "The eagle flies at midnight")
        await whisper_to(room_id, dave, carol, heard[carol], "Which eagle?")
        await count_one_time_keys(carol, dave)
        await a_new_device_is_announced(cloud, room_id, carol, dave, folder)


def in_touch(client: Person, room_id: str, other: Person) -> bool:
    """Return whether a client knows that the room is encrypted and that the other user is in it."""
    room = client.rooms.get(room_id)
    return room is not None and room.encrypted and other.user_id in room.users


async def whisper_to(room_id: str, speaker: Person, listener: Person, heard: Events, body: str) -> None:
    """Send an encrypted message. The key goes to the other user's devices first."""
    if speaker.should_query_keys:
        ok(await speaker.keys_query(), responses.KeysQueryResponse)
    sent = ok(
        await speaker.room_send(room_id, "m.room.message", text(body), ignore_unverified_devices=True),
        responses.RoomSendResponse,
    )
    await listener.sync_until(lambda: body in heard.bodies())
    (event,) = [event for event in heard.timeline if event.event_id == sent.event_id]
    assert event.decrypted
    stored = await listener.json("GET", f"/rooms/{segment(room_id)}/event/{segment(sent.event_id)}")
    assert stored["type"] == "m.room.encrypted"
    assert body not in json.dumps(stored)


async def count_one_time_keys(*clients: Person) -> None:
    """Check that a device whose one-time key was claimed is told that one less is left, and uploads
    another.
    """
    short = [client for client in clients if client.should_upload_keys]
    assert short, "no one-time key was claimed"
    for client in short:
        ok(await client.keys_upload(), responses.KeysUploadResponse)
        await client.sync_until(functools.partial(is_content, client))


def is_content(client: Person) -> bool:
    return not client.should_upload_keys


async def a_new_device_is_announced(cloud, room_id: str, carol: Person, dave: Person, folder) -> None:
    """Check that other users learn of a new device by device_lists, query its keys, and encrypt for it."""
    store = folder / "second"
    store.mkdir()
    async with person(cloud.url, "dave", store=store, registered=True) as second:
        heard = Events(second)
        ok(await second.keys_upload(), responses.KeysUploadResponse)
        await second.sync_until(lambda: in_touch(second, room_id, carol))
        await carol.sync_until(lambda: carol.should_query_keys)
        ok(await carol.keys_query(), responses.KeysQueryResponse)
        assert second.device_id in carol.device_store[dave.user_id]
        await whisper_to(room_id, carol, second, heard, "Hello, new device")
        assert not [
            event for event in heard.timeline if isinstance(event, nio.MegolmEvent) and "new" in str(event)
        ]
