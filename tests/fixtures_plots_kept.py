"""The sequence of actions in the worlds of keys, media and syncs."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import tests.fixtures_plots  # noqa: F401 - its plots come first
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from tests.fixtures_cases import SOCKET
from tests.fixtures_cases.sliding_sync import WINDOW
from tests.fixtures_scene import Scene, cross_signing, key_pair
from tests.fixtures_worlds import plot
from tests.keys import crypto

BACKUP_KEY = {
    "first_message_index": 1,
    "forwarded_count": 0,
    "is_verified": True,
    "session_data": {"ciphertext": "secret", "ephemeral": "key", "mac": "proof"},
}


def png(width: int, height: int) -> bytes:
    """Return a picture whose bytes depend on no library's version: uncompressed, red to blue."""
    rows = b"".join(
        b"\0" + b"".join(bytes((255 * x // width, 0, 255 * y // height)) for x in range(width))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 0)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def device_keys(name: str, device_id: str) -> dict[str, Any]:
    """Return the identity keys of a person's device."""
    return crypto.device_keys(f"@{name}:example.org", device_id, key_pair(f"{name} {device_id}", device_id))


def one_time_keys(name: str, device_id: str, *names: str, fallback: bool = False) -> dict[str, Any]:
    pair = key_pair(f"{name} {device_id}", device_id)
    return crypto.one_time_keys(f"@{name}:example.org", pair, list(names), fallback=fallback)


def publish_keys(scene: Scene, name: str, *one_time: str) -> None:
    """Publish the identity keys of a person's first device, one-time keys and a fallback key."""
    from murmuration.keys.upload import upload_keys

    device_id = scene.devices[name]
    body = {
        "device_keys": device_keys(name, device_id),
        "one_time_keys": one_time_keys(name, device_id, *one_time),
        "fallback_keys": one_time_keys(name, device_id, "FALL", fallback=True),
    }
    scene.act(upload_keys, scene.requester(name), body)


@plot("Alice's phone has published its keys, and Alice her cross-signing keys.", "alice")
def alice_with_keys(scene: Scene) -> None:
    from murmuration.keys.cross_signing import upload_cross_signing_keys

    publish_keys(scene, "alice", "AAAA", "AAAB")
    body = cross_signing("alice").body()
    scene.act(upload_cross_signing_keys, scene.requester("alice"), body, lambda: None)


@plot("Bob's laptop has published its keys, with one one-time key.", "bob")
def bob_with_keys(scene: Scene) -> None:
    publish_keys(scene, "bob", "BBBB")


@plot("Bob's laptop has published its keys, and only its fallback key is left.", "bob")
def bob_with_a_fallback_key(scene: Scene) -> None:
    publish_keys(scene, "bob")


@plot(
    "Alice and Bob share the lounge and both have keys.",
    "alice_and_bob_in_a_public_room",
    "alice_with_keys",
    "bob_with_keys",
)
def friends_with_keys(scene: Scene) -> None:
    pass


@plot("Alice backs up her room keys: one key so far.", "alice")
def alice_with_a_key_backup(scene: Scene) -> None:
    from murmuration.keys import backups

    alice = scene.user_id("alice")
    body = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "abcdefg"}}
    version = scene.act(backups.create_version, alice, body)
    scene.act(backups.put_session_key, alice, version, "!room:example.org", "session", BACKUP_KEY)


@plot("Alice has uploaded a picture and a text, and created an ID for something else.", "alice")
def alice_with_media(scene: Scene) -> None:
    from murmuration.media.repository import Upload, create_content, upload_content

    for called, upload in (
        ("picture", Upload(png(48, 32), "image/png", "sunset.png")),
        ("text", Upload("“Tea?”\n".encode(), "text/plain; charset=utf-8", "naïve.txt")),
    ):
        uri = scene.act(upload_content, scene.requester("alice"), upload)
        scene.names[called] = uri.rpartition("/")[2]
    uri, _ = scene.act(create_content, scene.requester("alice"), scene.token("alice"))
    scene.names["pending_media"] = uri.rpartition("/")[2]


@plot("CloudFront has stored what Alice uploads to the ID that she created.", "alice_with_media")
def a_large_upload(scene: Scene) -> None:
    from murmuration.aws import objects
    from murmuration.media.incoming.settling import object_of

    key = scene.names["incoming"] = object_of(scene.names["pending_media"])
    scene.act(objects.put, key, png(48, 32), "image/png")


@plot("Somebody has asked for a preview of a page a moment ago.", "alice")
def a_preview(scene: Scene) -> None:
    from murmuration.media.previews import KEPT_MS, digest_of
    from murmuration.storage import previews

    properties = {"og:title": "Tea", "og:description": "All about tea"}
    digest = digest_of("https://tea.example/")
    scene.act(previews.write, digest, properties, expires_ms=scene.clock + KEPT_MS)


# -- Syncs ---------------------------------------------------------------------------------------------------


def sync(scene: Scene, name: str, **options: Any) -> str:
    """Let a person's first device sync, and return its next token."""
    from murmuration.sync.engine import sync
    from murmuration.sync.request import SyncRequest

    answer = scene.act(sync, SyncRequest(token=scene.token(name), **options))
    return str(answer["next_batch"])


@plot("Alice has synced and seen all of the lounge.", "alice_and_bob_in_a_public_room")
def alice_has_synced(scene: Scene) -> None:
    scene.names["since"] = sync(scene, "alice")


@plot(
    "Since Alice's phone synced, Bob has talked, typed and read in the lounge and sent it a message.",
    "alice_has_synced",
)
def news_for_alice(scene: Scene) -> None:
    from murmuration.rooms.ephemeral import receipts, typing
    from murmuration.to_device import send_to_device

    lounge, bob = scene.names["lounge"], scene.requester("bob")
    scene.set_state("alice", lounge, "m.room.topic", {"topic": "Silence"}, called="silence")
    scene.say("bob", lounge, "Are you there, Alice?", "question")
    scene.act(typing.set_typing, bob, lounge, bob.user_id, typing=True, timeout_ms=120_000)
    scene.act(receipts.send_receipt, scene.token("bob"), lounge, "m.read", scene.names["reply"], {})
    messages = {scene.user_id("alice"): {"PHONE": {"body": "psst"}}}
    scene.act(
        send_to_device, bob, "org.example.whisper", "w1", {"messages": messages}, received_ms=scene.clock
    )


@plot("Alice's phone has a window on her rooms, and Bob has talked since.", "alice_and_bob_in_a_public_room")
def alice_has_a_window(scene: Scene) -> None:
    from murmuration.protocol.sliding.requests import parse
    from murmuration.sliding_sync.engine import sliding_sync

    request = parse(WINDOW, {}, UserId(scene.user_id("alice")), is_merged=False)
    scene.names["pos"] = scene.act(sliding_sync, scene.token("alice"), request)["pos"]
    scene.say("bob", scene.names["lounge"], "Are you there, Alice?", "question")


@plot("Alice's phone has synced, then Bob's.", "alice_has_synced")
def bob_has_come(scene: Scene) -> None:
    sync(scene, "bob")


@plot("Alice's phone has synced and waits for news.", "alice_has_synced")
def alice_waits(scene: Scene) -> None:
    from murmuration.sync import waiting

    wait = scene.act(waiting.register, scene.requester("alice"), None, "held", 30.0)
    scene.names["nonce"] = wait.nonce


@plot("Alice's phone has a WebSocket open and was told all of the lounge.", "alice_has_synced")
def alice_listens(scene: Scene) -> None:
    from murmuration.delivery import sockets

    options = {"since": scene.names["since"], "filter_text": None}
    scene.act(sockets.connect, scene.token("alice"), SOCKET, **options)


@plot("Alice's phone has a WebSocket open, on which she hasn't been told what Bob did.", "news_for_alice")
def news_for_alices_socket(scene: Scene) -> None:
    from murmuration.delivery import sockets

    options = {"since": scene.names["since"], "filter_text": None}
    scene.act(sockets.connect, scene.token("alice"), SOCKET, **options)


@plot(
    "Bob has invited Alice to his study since she synced.", "alice_has_synced", "alice_invited_to_bobs_room"
)
def an_invite_for_alice(scene: Scene) -> None:
    pass


@plot(
    "A writer stored parts of a snapshot of the lounge, and stopped.",
    "alice_and_bob_in_a_public_room",
)
def strays_in_the_lounge(scene: Scene) -> None:
    from murmuration.protocol import state_trie
    from murmuration.rooms.writing import changes

    lounge = RoomId(scene.names["lounge"])
    root, nodes = state_trie.build(lounge, {("m.room.topic", ""): EventId("$" + "A" * 43)})
    scene.act(changes.store_nodes_first, lounge, root, nodes)


@plot("Since a day nothing tells of these parts any more.", "strays_in_the_lounge")
def forgotten_strays_in_the_lounge(scene: Scene) -> None:
    from murmuration.rooms.lifecycle import collection

    scene.pass_time(collection.GRACE_MS)
    scene.act(collection.collect, budget_ms=60_000)


@plot("Bob asks to see Alice's presence.", "alice", "bob")
def bob_asks_to_see_alice(scene: Scene) -> None:
    from murmuration.presence import lists

    scene.act(lists.change_list, scene.user_id("bob"), invite=[scene.user_id("alice")])


@plot("Bob and Alice have left the lounge, where nobody is now.", "alice_and_bob_in_a_public_room")
def everybody_left_the_lounge(scene: Scene) -> None:
    from murmuration.rooms.membership.operations import leave_room

    for name in ("bob", "alice"):
        scene.act(leave_room, scene.user_id(name), scene.names["lounge"])


@plot("Bob has come back to the lounge.", "everybody_left_the_lounge")
def bob_came_back_to_the_lounge(scene: Scene) -> None:
    scene.join("bob", scene.names["lounge"])


@plot("A month later the lounge was about to be deleted, but for its tombstone.", "everybody_left_the_lounge")
def a_buried_lounge(scene: Scene) -> None:
    from murmuration.storage.rooms import empty_rooms

    scene.pass_time(31 * 86_400_000)
    for room in scene.act(empty_rooms.read_all):
        scene.act(empty_rooms.bury, room, scene.clock)


@plot("Alice's phone has said what it can do, and knows the hash of what the server can.", "alice")
def alice_with_capabilities(scene: Scene) -> None:
    from murmuration.drafts.v2 import capabilities
    from murmuration.protocol.bodies import Fields

    who = scene.requester("alice")
    offered: dict[str, Any] = {"capabilities": {"m.cap.voip.v1": {}}}
    scene.names["alice_hash"] = scene.act(capabilities.upload, who, Fields(offered))["sha256"]
    scene.names["server_hash"] = capabilities.get_server_hash(who)["sha256"]


@plot(
    "Alice's client of version 2 has a stream, has read it once, and Bob says something since.",
    "alice_and_bob_in_a_public_room",
)
def alice_with_a_stream(scene: Scene) -> None:
    from murmuration.drafts.v2 import catching_up, filters, streaming
    from murmuration.drafts.v2.filters import Filter

    token = scene.token("alice")
    only = {"types": ["m.room.name"]}
    scene.names["names_only"] = scene.act(filters.define, token.user_id, only)
    scene.names["stream"] = scene.act(streaming.define, token, streaming.EVERYTHING)
    wanted = catching_up.Wanted(Filter(), Filter(), 5)
    answer = scene.act(catching_up.initial_sync, token, scene.names["stream"], wanted)
    scene.names["stream_read"] = answer["streaming"]
    scene.say("bob", scene.names["lounge"], "Is there tea?")


@plot(
    "Another server, which has somebody in the lounge, didn't answer when an event was sent to it.",
    "alice_and_bob_in_a_public_room",
)
def another_server_is_behind(scene: Scene) -> None:
    from murmuration.federation.outbound.transactions import Part, Transaction
    from murmuration.storage.servers import backlogs, destinations
    from murmuration.storage.servers.destinations import Health

    server, lounge, now = "behind.example", RoomId(scene.names["lounge"]), scene.clock
    retry_at = now + 600_000
    scene.act(destinations.write_failure, server, Health(now, now, retry_at, 600_000), now)
    scene.act(
        backlogs.open_backlog,
        server,
        lounge,
        1,
        now_ms=now,
        due_ms=retry_at,
        sending=Transaction(now, (Part(lounge, (1,), 2),)).to_json(),
    )


@plot("Alice's phone has a pusher.", "alice_and_bob_in_a_public_room")
def alice_has_a_pusher(scene: Scene) -> None:
    from murmuration.protocol.bodies import Fields
    from murmuration.push import pushers

    body = {
        "app_id": "org.example.app",
        "pushkey": "key",
        "kind": "http",
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": "https://push.invalid/_matrix/push/v1/notify"},
    }
    scene.act(pushers.set_pusher, scene.requester("alice"), Fields(body))


@plot("Alice and Bob are in the user directory.", "alice_and_bob_in_a_public_room")
def alice_and_bob_are_found(scene: Scene) -> None:
    from murmuration.storage.users import user_words

    for name in ("alice", "bob"):
        scene.act(user_words.add_words, scene.user_id(name), name.title())


@plot("Alice is an administrator of the server.", "alice", "bob")
def alice_is_an_administrator(scene: Scene) -> None:
    from murmuration.accounts.management import set_admin

    scene.act(set_admin, scene.user_id("alice"), True)


@plot("Bob's client has his farewell to a call sent in twenty seconds.", "alice_and_bob_in_a_public_room")
def bob_hangs_up_later(scene: Scene) -> None:
    from murmuration.aws import queues
    from murmuration.storage.users import delayed_events

    bob = scene.requester("bob")
    delay_id = delayed_events.make_delay_id(bob.user_id, b"a secret of the fixtures")
    event = delayed_events.DelayedEvent(
        delay_id,
        bob.user_id,
        bob.device_id,
        RoomId(scene.names["lounge"]),
        "org.example.call",
        None,
        {"leave_reason": {"code": "delayed_leave"}},
        20_000,
        scene.clock,
    )

    def schedule() -> None:
        delayed_events.schedule(event)
        queues.ring_later("delayed-events", event.delay_ms // 1000)

    scene.act(schedule)
    scene.names["delay"] = delay_id


@plot("Bob's client cancelled it.", "bob_hangs_up_later")
def bob_cancelled_his_farewell(scene: Scene) -> None:
    from murmuration.rooms.delayed import managing

    scene.act(managing.manage, scene.requester("bob"), scene.names["delay"], "cancel", unstable=False)
