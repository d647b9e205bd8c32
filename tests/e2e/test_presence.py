"""Presence from one person to another through the whole server: workers, wake queues, WebSocket."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from urllib.parse import quote, urlencode

from websockets.sync.client import connect

from local_cloud.testing import LocalCloud
from tests.e2e.raw import V3, Raw, register
from tests.local_cloud.waiting import PATIENCE_S

STATUS = f"{V3}/presence/{{}}/status"


def put(person: Raw, state: str, message: str) -> None:
    body = {"presence": state, "status_msg": message}
    person.json("PUT", STATUS.format(quote(person.user_id, safe="")), body)


def of(body: Any, person: Raw) -> Any:
    """Return somebody's presence from a sync's answer; None if it has none."""
    events = body.get("presence", {}).get("events", [])
    return next((event["content"] for event in events if event["sender"] == person.user_id), {})


def sync_until(person: Raw, since: str, other: Raw, message: str) -> str:
    """Sync until the other user has a status message, and return the last token."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        body = person.json("GET", f"{V3}/sync?since={since}&timeout=20000")
        since = body["next_batch"]
        if of(body, other).get("status_msg") == message:
            return str(since)
    raise AssertionError("it never came")


def test_a_change_wakes_those_who_may_know_and_tells_a_socket(shared_cloud: LocalCloud) -> None:
    alice, bob = register(shared_cloud, "present-alice"), register(shared_cloud, "present-bob")
    room_id = alice.create_room(preset="public_chat")
    bob.join(room_id)
    since = alice.json("GET", f"{V3}/sync")["next_batch"]
    put(bob, "online", "first")
    since = sync_until(alice, since, bob, "first")
    other = threading.Thread(target=put, args=(bob.again(), "unavailable", "second"))
    other.start()
    since = sync_until(alice, since, bob, "second")
    other.join()
    query = urlencode({"access_token": alice.token, "since": since})
    address = f"ws://127.0.0.1:{shared_cloud.port}{V3}/stream?{query}"
    with connect(address, subprotocols=["m.json"]) as socket:  # type: ignore[list-item]
        put(bob, "online", "third")
        while of(json.loads(socket.recv(timeout=PATIENCE_S)), bob).get("status_msg") != "third":
            pass
    alice.close()
    bob.close()
