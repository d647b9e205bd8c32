"""The sequence of actions in worlds with another server."""

from __future__ import annotations

import json
from typing import Any

import tests.fixtures_plots  # noqa: F401 - its plots come first
from murmuration.protocol.identifiers import ServerName
from tests.fixtures_scene import Scene
from tests.fixtures_worlds import plot

OTHER = ServerName("other.example")
DORA = f"@dora:{OTHER}"
DAY_MS = 24 * 3_600_000


@plot("The keys of another server are known.")
def another_server(scene: Scene) -> None:
    from murmuration.protocol.pdus.keys import VerifyKey
    from murmuration.storage.servers import remote_keys
    from murmuration.storage.servers.remote_keys import StoredKey
    from tests.rooms.other_servers import key_of

    key = key_of(OTHER)
    known = VerifyKey(key.key_id, key.public_key, valid_until_ts=scene.clock + 7 * DAY_MS)
    scene.act(remote_keys.write, [StoredKey(OTHER, known, "origin", scene.clock)])


@plot(
    "Dora, of another server, is in the lounge, and has sent a message that has yet to arrive.",
    "alice_and_bob_in_a_public_room",
    "another_server",
)
def dora_in_the_lounge(scene: Scene) -> None:
    from tests.rooms.other_servers import Mirror

    mirror = scene.act(Mirror, scene.names["lounge"])
    scene.act(mirror.send, mirror.member(DORA, DORA, "join"))
    message = mirror.message(DORA, "Hello from elsewhere!")
    scene.names["dora"] = DORA
    scene.names["dora_message"] = message.event_id
    scene.names["dora_pdu"] = json.dumps(message.pdu, separators=(",", ":"))


@plot("Alice has an OpenID token.", "alice")
def alice_with_an_openid_token(scene: Scene) -> None:
    from murmuration.identity.tokens import hash_secret
    from murmuration.storage.auth import user_tokens

    scene.names["openid_token"] = "an-openid-token"
    digest = hash_secret("an-openid-token")
    scene.act(
        user_tokens.create, user_tokens.OPENID, digest, "@alice:example.org", expires_ms=scene.clock + DAY_MS
    )


@plot("Alice's phone has another name, of which other servers are to be told.", "dora_in_the_lounge")
def alice_renames_her_phone(scene: Scene) -> None:
    from murmuration.accounts.devices import update_device

    scene.act(
        update_device, scene.requester("alice"), scene.devices["alice"], {"display_name": "Alice's phone"}
    )


@plot("A message of Dora's could not be judged when it came, and waits.", "dora_in_the_lounge")
def dora_waits(scene: Scene) -> None:
    from murmuration.storage.servers import parked_pdus

    pdu: Any = json.loads(scene.names["dora_pdu"])
    scene.act(parked_pdus.park, scene.names["lounge"], scene.names["dora_message"], OTHER, pdu)
