"""An answer over Lambda's limit, over HTTP: the client is redirected to it at the same address."""

from __future__ import annotations

from typing import Any

from local_cloud.testing import LocalCloud
from tests.e2e.raw import V3, register


def test_a_large_backup_is_fetched_by_a_redirect(shared_cloud: LocalCloud) -> None:
    alice = register(shared_cloud, "large-backup")
    body = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "x"}}
    version = alice.json("POST", f"{V3}/room_keys/version", body)["version"]
    key: dict[str, Any] = {"first_message_index": 0, "forwarded_count": 0, "is_verified": False}
    key |= {"session_data": {"ciphertext": "y" * 60_000}}
    rooms = {f"!{n}:example.org": {"sessions": {f"s{m}": key for m in range(40)}} for n in range(3)}
    for room_id, room in rooms.items():
        alice.json("PUT", f"{V3}/room_keys/keys?version={version}", {"rooms": {room_id: room}})
    answer = alice.request("GET", f"{V3}/room_keys/keys?version={version}")
    assert answer.status == 307
    location = answer.headers["location"]
    assert location.startswith("/answers/")
    stored = alice.request("GET", location)  # with the token, as a client within one address sends it
    assert stored.status == 200
    assert stored.json == {"rooms": rooms}
    assert stored.headers["access-control-allow-origin"] == "*"
    assert alice.request("OPTIONS", location).status == 204
    assert alice.request("GET", location.replace("X-Amz-Expires=600", "X-Amz-Expires=6000")).status == 403
    alice.close()
