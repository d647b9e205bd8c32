"""mautrix, on which bots and bridges in Python are built: two people who talk, each with a loop."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from local_cloud.testing import LocalCloud

pytest.importorskip("mautrix", reason="mautrix is not installed")

from mautrix.api import HTTPAPI, Method
from mautrix.client import Client
from mautrix.errors import MUnknownToken
from mautrix.types import EventType, Membership, RoomCreatePreset, UserID

pytestmark = pytest.mark.long

PATIENCE_S = 60
TOPIC: dict[str, Any] = {"topic": "What to drink"}
PASSWORD = "correct horse"


class Person:
    """A client of mautrix, and the events that come to it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._came: asyncio.Queue[Any] = asyncio.Queue()
        for kind in (
            EventType.ROOM_MESSAGE,
            EventType.ROOM_MEMBER,
            EventType.ROOM_TOPIC,
            EventType.ROOM_REDACTION,
            EventType.TYPING,
            EventType.RECEIPT,
        ):
            client.add_event_handler(kind, self._take)

    async def _take(self, event: Any) -> None:
        await self._came.put(event)

    async def next(self, kind: EventType, wanted: Callable[[Any], bool] = lambda _: True) -> Any:
        """Return the next event that is wanted. Raises TimeoutError if none comes in time."""

        async def find() -> Any:
            while True:
                event = await self._came.get()
                if event.type == kind and wanted(event):
                    return event

        return await asyncio.wait_for(find(), PATIENCE_S)


async def log_in(url: str, name: str) -> Person:
    username = f"{name}-{secrets.token_hex(3)}"
    body = {"username": username, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    answer = await HTTPAPI(url).request(Method.POST, "_matrix/client/v3/register", body)
    client = Client(mxid=UserID(answer["user_id"]), base_url=url)
    await client.login(UserID(username), password=PASSWORD, device_name="mautrix")
    client.start(None)
    return Person(client)


async def talk(url: str) -> None:
    alice, bob = await log_in(url, "alice"), await log_in(url, "bob")
    room_id = await alice.client.create_room(
        name="Tea", preset=RoomCreatePreset.PRIVATE, invitees=[bob.client.mxid]
    )
    await bob.next(EventType.ROOM_MEMBER, lambda event: event.content.membership == Membership.INVITE)
    await bob.client.join_room(room_id)
    await alice.next(
        EventType.ROOM_MEMBER,
        lambda event: (event.state_key, event.content.membership) == (bob.client.mxid, Membership.JOIN),
    )

    sent = await alice.client.send_text(room_id, "Tea?")
    heard = await bob.next(EventType.ROOM_MESSAGE, lambda event: event.content.body == "Tea?")
    assert (heard.event_id, heard.sender) == (sent, alice.client.mxid)

    await bob.client.set_typing(room_id, timeout=20_000)
    typing = await alice.next(EventType.TYPING)
    assert typing.content.user_ids == [bob.client.mxid]
    await bob.client.send_receipt(room_id, sent)
    receipt = await alice.next(EventType.RECEIPT)
    assert sent in receipt.content

    await alice.client.send_state_event(room_id, EventType.ROOM_TOPIC, TOPIC)
    topic = await bob.next(EventType.ROOM_TOPIC)
    assert topic.content.topic == "What to drink"
    await alice.client.redact(room_id, sent)
    assert (await bob.next(EventType.ROOM_REDACTION)).redacts == sent

    for person in (alice, bob):
        person.client.stop()
    token = bob.client.api.token
    await bob.client.logout()
    with pytest.raises(MUnknownToken):
        await Client(mxid=bob.client.mxid, base_url=url, token=token).whoami()
    await asyncio.gather(*(person.client.api.session.close() for person in (alice, bob)))


def test_two_people_talk(shared_cloud: LocalCloud) -> None:
    asyncio.run(talk(shared_cloud.url))


async def send_a_video(url: str) -> None:
    """Send a video as bridges do it: other clients ask for the file while it is still being uploaded."""
    alice, bob = await log_in(url, "alice"), await log_in(url, "bob")
    video = bytes(range(250)) * 48_000
    uri = await alice.client.upload_media(video, mime_type="video/mp4", filename="v.mp4", async_upload=True)
    assert await bob.client.download_media(uri) == video
    for person in (alice, bob):
        person.client.stop()
        await person.client.api.session.close()


def test_a_video_of_twelve_megabytes_is_uploaded_behind_its_event(shared_cloud: LocalCloud) -> None:
    asyncio.run(send_a_video(shared_cloud.url))
