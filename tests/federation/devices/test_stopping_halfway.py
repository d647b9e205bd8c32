"""Outgoing encryption data whose sending stops at each write or message and is repeated.

A client repeats a request that got an error, and Streams the batch of its worker. The other server has to get
everything, each message by one ID, and no one-time key may be given away twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from murmuration.protocol.identifiers import UserId
from murmuration.storage.live.streams import user_stream
from tests.faults import Do, Look, stop_everywhere
from tests.federation.devices.conftest import encrypted_room
from tests.federation.devices.elsewhere import Elsewhere, Streams
from tests.federation.devices.test_announcing import UPDATE, chain, rename
from tests.federation.devices.test_serving import CLAIM, publish
from tests.federation.outbound import Workers
from tests.federation.peers import Worker
from tests.in_process import Client
from tests.keys.crypto import KeyPair, one_time_keys
from tests.logged_in import log_in


@dataclass
class Scene:
    """Alice here, and Bob on another server, in an encrypted room; a third server with nobody in it."""

    alice: Client
    elsewhere: Elsewhere
    third: Elsewhere
    workers: Workers
    streams: Streams


def messages_to_devices(scene: Scene) -> tuple[Do, Look]:
    """Send messages to devices of two other servers, and to one device here."""
    laptop = log_in(UserId(scene.alice.user_id), "LAPTOP")
    wanted = {
        scene.elsewhere.bob: {"PHONE": {"n": 1}, "TABLET": {"n": 2}},
        scene.third.bob: {"*": {"n": 3}},
        scene.alice.user_id: {"LAPTOP": {"n": 4}},
    }

    def send() -> None:
        answer = scene.alice.put("/_matrix/client/v3/sendToDevice/m.test/t1", {"messages": wanted})
        if answer.status != 200:
            raise ConnectionError

    def look() -> Any:
        scene.workers.run()
        seen = []
        for server in (scene.elsewhere, scene.third):
            contents = server.contents("m.direct_to_device")
            by_id = {content["message_id"]: list(content["messages"].values()) for content in contents}
            seen.append(list(by_id.values()))
        here = laptop.get("/_matrix/client/v3/sync").json["to_device"]["events"]
        return seen, [event["content"] for event in here]

    return send, look


def change_of_a_device(scene: Scene) -> tuple[Do, Look]:
    publish(scene.alice)
    stream = user_stream(UserId(scene.alice.user_id))
    scene.streams.run(stream)
    rename(scene.alice, "Alice's")

    def look() -> Any:
        scene.workers.run()
        return list(dict.fromkeys(map(json.dumps, chain(scene.elsewhere)))), [
            content.get("device_display_name") for content in scene.elsewhere.contents(UPDATE)[-1:]
        ]

    return lambda: scene.streams.order(stream), look


def claimed_keys(scene: Scene) -> tuple[Do, Look]:
    """Let another server claim keys until none is left. A claim whose answer got lost has used up its key."""
    publish(scene.alice, one_time_keys=one_time_keys(scene.alice.user_id, KeyPair("ALICE"), ["a", "b", "c"]))
    wanted = {"one_time_keys": {scene.alice.user_id: {"ALICE": "signed_curve25519"}}}
    given: list[str] = []

    def claim() -> bool:
        answer = scene.elsewhere.call("POST", CLAIM, wanted)
        if answer.status != 200:
            raise ConnectionError
        found = answer.json["one_time_keys"].get(scene.alice.user_id, {}).get("ALICE", {})
        given.extend(found)
        return bool(found)

    def look() -> Any:
        while claim():
            pass
        return (
            len(given) == len(set(given)),
            len(given) >= 2,
            set(given) <= {f"signed_curve25519:{it}" for it in "abc"},
        )

    return claim, look


KINDS = (messages_to_devices, change_of_a_device, claimed_keys)


@pytest.mark.parametrize("prepare", KINDS, ids=lambda it: it.__name__)
def test_what_was_interrupted_and_repeated_is_done(
    fresh_user_id: Callable[[str], str],
    make_elsewhere: Callable[[], Elsewhere],
    worker: Worker,
    workers: Workers,
    prepare: Callable[[Scene], tuple[Do, Look]],
) -> None:
    def begin() -> tuple[Do, Look]:
        alice, elsewhere = log_in(UserId(fresh_user_id("alice")), "ALICE"), make_elsewhere()
        workers.skip(encrypted_room(alice, elsewhere).room_id)
        return prepare(Scene(alice, elsewhere, make_elsewhere(), workers, Streams(workers)))

    whole = stop_everywhere(begin)
    assert ("SendMessageBatch" in whole.operations) == (prepare is not claimed_keys)
