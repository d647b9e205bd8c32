"""Two people talk over HTTP, with a client library; then the server loses its power, and they go on."""

from __future__ import annotations

import asyncio
import functools
import io

import nio
from nio import responses
from PIL import Image

from tests.e2e.people import Events, Person, ok, person, text
from tests.e2e.raw import segment

PNG_SIZE = (640, 480)


def picture() -> bytes:
    """Return a PNG with something on it."""
    image = Image.linear_gradient("L").resize(PNG_SIZE).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_two_people(cloud):
    asyncio.run(meet(cloud))


async def meet(cloud):
    async with person(cloud.url, "alice") as alice, person(cloud.url, "bob") as bob:
        heard = {alice: Events(alice), bob: Events(bob)}
        room_id = await make_room(cloud, alice, bob)
        await talk(room_id, alice, bob, heard)
        first = await react_edit_and_redact(room_id, alice, bob, heard)
        await show_signs_of_life(room_id, first, alice, bob, heard)
        mxc, png = await share_a_picture(room_id, alice, bob, heard)

        cloud.kill9()
        cloud.restart()

        await find_everything_again(cloud, room_id, first, alice, bob)
        await see_the_picture_again(mxc, png, bob)
        heard[alice].timeline.clear()
        heard[bob].timeline.clear()
        await talk(room_id, alice, bob, heard)


async def make_room(cloud, alice: Person, bob: Person) -> str:
    created = ok(await alice.room_create(alias="den", name="The den", topic="Foxes", invite=[bob.user_id]))
    room_id: str = created.room_id
    await bob.sync_until(lambda: room_id in bob.invited_rooms)
    assert bob.invited_rooms[room_id].inviter == alice.user_id
    assert bob.invited_rooms[room_id].name == "The den"
    assert ok(await bob.room_resolve_alias(f"#den:{cloud.server_name}")).room_id == room_id
    ok(await bob.join(room_id))
    for client in (alice, bob):
        await client.sync_until(functools.partial(knows_of, client, room_id, bob))
        room = client.rooms[room_id]
        assert (room.name, room.topic, room.canonical_alias) == (
            "The den",
            "Foxes",
            f"#den:{cloud.server_name}",
        )
        assert set(room.users) == {alice.user_id, bob.user_id}
    return room_id


def knows_of(client: Person, room_id: str, other: Person) -> bool:
    return room_id in client.rooms and other.user_id in client.rooms[room_id].users


async def talk(room_id: str, alice: Person, bob: Person, heard: dict[Person, Events]) -> None:
    """Exchange messages: each waits in a long poll while the other one sends."""
    await say(room_id, alice, bob, heard[bob], "Hello Bob")
    await say(room_id, bob, alice, heard[alice], "Hello Alice")
    await say(room_id, alice, bob, heard[bob], "Ω ✓ 🦊")


async def say(room_id: str, speaker: Person, listener: Person, heard: Events, body: str) -> None:
    poll = asyncio.create_task(listener.sync_until(lambda: body in heard.bodies()))
    sent = ok(await speaker.room_send(room_id, "m.room.message", text(body)))
    await poll
    (event,) = [event for event in heard.timeline if event.event_id == sent.event_id]
    assert (event.sender, event.body) == (speaker.user_id, body)


async def react_edit_and_redact(room_id: str, alice: Person, bob: Person, heard: dict[Person, Events]) -> str:
    first = ok(await alice.room_send(room_id, "m.room.message", text("My frist message"))).event_id
    relation = {"rel_type": "m.annotation", "event_id": first, "key": "🦊"}
    ok(await bob.room_send(room_id, "m.reaction", {"m.relates_to": relation}))
    await alice.sync_until(lambda: heard[alice].of(nio.ReactionEvent))
    (reaction,) = heard[alice].of(nio.ReactionEvent)
    assert (reaction.reacts_to, reaction.key, reaction.sender) == (first, "🦊", bob.user_id)

    edit = {
        **text("* My first message"),
        "m.new_content": text("My first message"),
        "m.relates_to": {"rel_type": "m.replace", "event_id": first},
    }
    ok(await alice.room_send(room_id, "m.room.message", edit))
    await bob.sync_until(lambda: "* My first message" in heard[bob].bodies())
    found = await bob.json("GET", f"/rooms/{segment(room_id)}/event/{segment(first)}")
    assert found["content"]["body"] == "My frist message"
    assert (
        found["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"]["body"]
        == "My first message"
    )

    secret = ok(await bob.room_send(room_id, "m.room.message", text("I ate the cheese"))).event_id
    ok(await bob.room_redact(room_id, secret, reason="second thoughts"))
    await alice.sync_until(lambda: heard[alice].of(nio.RedactionEvent))
    (redaction,) = heard[alice].of(nio.RedactionEvent)
    assert (redaction.redacts, redaction.reason) == (secret, "second thoughts")
    gone = await alice.json("GET", f"/rooms/{segment(room_id)}/event/{segment(secret)}")
    assert gone["content"] == {}
    return str(first)


async def show_signs_of_life(
    room_id: str, event_id: str, alice: Person, bob: Person, heard: dict[Person, Events]
) -> None:
    ok(await bob.room_typing(room_id, typing_state=True, timeout=20_000))
    await alice.sync_until(lambda: alice.rooms[room_id].typing_users == [bob.user_id])
    ok(await bob.room_typing(room_id, typing_state=False))
    await alice.sync_until(lambda: alice.rooms[room_id].typing_users == [])
    ok(await bob.room_read_markers(room_id, fully_read_event=event_id, read_event=event_id))
    await alice.sync_until(lambda: heard[alice].of(nio.ReceiptEvent))
    (receipts,) = heard[alice].of(nio.ReceiptEvent)
    (receipt,) = receipts.receipts
    assert (receipt.event_id, receipt.receipt_type, receipt.user_id) == (event_id, "m.read", bob.user_id)
    assert bob.user_id in alice.rooms[room_id].read_receipts


async def share_a_picture(
    room_id: str, alice: Person, bob: Person, heard: dict[Person, Events]
) -> tuple[str, bytes]:
    png = picture()
    uploaded, _ = await alice.upload(
        io.BytesIO(png), content_type="image/png", filename="fox.png", filesize=len(png)
    )
    mxc: str = ok(uploaded, responses.UploadResponse).content_uri
    content = {"msgtype": "m.image", "body": "fox.png", "url": mxc, "info": {"mimetype": "image/png"}}
    ok(await alice.room_send(room_id, "m.room.message", content))
    await bob.sync_until(lambda: heard[bob].of(nio.RoomMessageImage))
    (image,) = heard[bob].of(nio.RoomMessageImage)
    assert image.url == mxc
    await see_the_picture_again(mxc, png, bob)
    return mxc, png


async def see_the_picture_again(mxc: str, png: bytes, bob: Person) -> None:
    downloaded = ok(await bob.download(mxc), responses.MemoryDownloadResponse)
    assert (downloaded.body, downloaded.content_type, downloaded.filename) == (png, "image/png", "fox.png")
    server_name, _, media_id = mxc.removeprefix("mxc://").partition("/")
    thumbnail = ok(await bob.thumbnail(server_name, media_id, 96, 96, nio.ResizingMethod.crop))
    small = Image.open(io.BytesIO(thumbnail.body))
    assert (small.size, len(thumbnail.body) < len(png)) == ((96, 96), True)


async def find_everything_again(cloud, room_id: str, first: str, alice: Person, bob: Person) -> None:
    """Check that tokens, sync tokens, rooms, history and receipts survive the server's restart."""
    assert ok(await alice.whoami()).user_id == alice.user_id
    assert ok(await bob.joined_rooms()).rooms == [room_id]
    page = ok(await bob.room_messages(room_id, start="", direction=nio.MessageDirection.back, limit=50))
    bodies = [event.body for event in page.chunk if isinstance(event, nio.RoomMessageText)]
    assert [body for body in bodies if body.startswith("Hello")] == ["Hello Alice", "Hello Bob"]
    assert page.chunk[-1].source["type"] == "m.room.create"
    state = ok(await alice.room_get_state(room_id)).events
    assert {"Foxes"} == {event["content"]["topic"] for event in state if event["type"] == "m.room.topic"}
    assert ok(await bob.room_resolve_alias(f"#den:{cloud.server_name}")).room_id == room_id

    async with person(cloud.url, "alice", registered=True) as second:
        heard = Events(second)
        ok(await second.sync(timeout=0))
        assert list(second.rooms) == [room_id]
        (receipts,) = heard.of(nio.ReceiptEvent)
        assert [(receipt.event_id, receipt.user_id) for receipt in receipts.receipts] == [
            (first, bob.user_id)
        ]
        ok(await second.logout())
