"""Two local clouds share rooms over TLS: joins both ways, invites, and messages."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from local_cloud.testing import LocalCloud
from tests.local_cloud.waiting import PATIENCE_S

V3 = "/_matrix/client/v3"


class User:
    """A user of a local cloud."""

    def __init__(self, cloud: LocalCloud, name: str) -> None:
        self.cloud = cloud
        self.token = ""
        body = {"username": name, "password": "wonderland", "auth": {"type": "m.login.dummy"}}
        answer = self.call("POST", f"{V3}/register", body)
        self.token, self.user_id = answer["access_token"], answer["user_id"]
        self.since: str | None = None

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.cloud.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def until(self, found: Callable[[Any], Any]) -> Any:
        """Sync until `found` returns something true for an answer, and return that."""
        deadline = time.monotonic() + 2 * PATIENCE_S
        while time.monotonic() < deadline:
            query = f"&since={self.since}" if self.since else ""
            body = self.call("GET", f"{V3}/sync?timeout=5000{query}")
            self.since = body["next_batch"]
            if result := found(body):
                return result
        raise AssertionError("it never came")


def said(room_id: str, text: str) -> Callable[[Any], bool]:
    def found(body: Any) -> bool:
        room = body.get("rooms", {}).get("join", {}).get(room_id, {})
        events = room.get("timeline", {}).get("events", [])
        return any(event["content"].get("body") == text for event in events)

    return found


@pytest.mark.parametrize("version", ["1", "6", "11", "12"])
def test_a_room_is_shared(two: list[LocalCloud], version: str) -> None:
    alice, bob = User(two[0], f"alice{version}"), User(two[1], f"bob{version}")
    body = {"preset": "private_chat", "room_version": version, "name": "Tea", "invite": [bob.user_id]}
    room_id = alice.call("POST", f"{V3}/createRoom", body)["room_id"]
    where = f"{V3}/rooms/{quote(room_id)}"
    bob.until(lambda body: room_id in body.get("rooms", {}).get("invite", {}))
    assert bob.call("POST", f"{V3}/join/{quote(room_id)}", {}) == {"room_id": room_id}
    alice.call("PUT", f"{where}/send/m.room.message/1", {"msgtype": "m.text", "body": "from Alice"})
    bob.until(said(room_id, "from Alice"))
    bob.call("PUT", f"{where}/send/m.room.message/1", {"msgtype": "m.text", "body": "from Bob"})
    alice.until(said(room_id, "from Bob"))
    members = [user.call("GET", f"{where}/joined_members")["joined"] for user in (alice, bob)]
    assert set(members[0]) == set(members[1]) == {alice.user_id, bob.user_id}
