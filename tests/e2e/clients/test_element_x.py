"""The stack of Element X, as a small program of ours: two people in an encrypted room, by sliding sync.

`make rust-client` builds the program in a folder outside of the tree, which takes a while.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local_cloud.testing import LocalCloud
from tests.e2e.clients.rust_client import program
from tests.e2e.raw import PASSWORD, register

pytestmark = pytest.mark.long

PATIENCE_S = 60


class App:
    """The program, logged in: `do` gives it a command, `until` waits for something that it tells."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._told: queue.Queue[dict[str, str]] = queue.Queue()
        self.heard: list[dict[str, str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.put(json.loads(line))

    def do(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def until(self, what: str, **fields: str) -> dict[str, str]:
        """Return the program's next report of this kind with these fields. Raises AssertionError if the
        program fails.
        """
        while True:
            told = self._told.get(timeout=PATIENCE_S)
            self.heard.append(told)
            assert told["what"] != "failed", self.heard
            assert told.get("state") != "error", self.heard
            if told["what"] == what and fields.items() <= told.items():
                return told

    def rooms(self) -> dict[str, Any]:
        """Return the rooms that the app knows, by ID."""
        self.do("rooms")
        before = len(self.heard)
        self.until("rooms")
        return {each["room"]: each for each in self.heard[before:] if each["what"] == "room"}


@contextmanager
def running(cloud: LocalCloud, name: str) -> Iterator[App]:
    command = [str(program()), cloud.url, name, PASSWORD]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            app = App(process)
            app.until("started")
            yield app
            app.do("quit")
            app.until("ended")
        finally:
            process.kill()


def test_two_people_talk_in_an_encrypted_room(shared_cloud: LocalCloud) -> None:
    if not program().is_file():
        pytest.skip("Element X's stack isn't built: make rust-client")
    alice, bob = register(shared_cloud, "rust-alice"), register(shared_cloud, "rust-bob")
    with running(shared_cloud, "rust-alice") as one, running(shared_cloud, "rust-bob") as other:
        one.until("state", state="running")
        other.until("state", state="running")
        one.do(f"dm {bob.user_id}")
        room_id = one.until("created")["room"]
        other.until("invited", room=room_id)
        other.do(f"join {room_id}")
        other.until("joined", room=room_id)
        for app in (one, other):
            app.do(f"open {room_id}")
            app.until("opened", room=room_id)
        other.do(f"send {room_id} hello")
        one.until("message", room=room_id, sender=bob.user_id, body="hello")
        for number in range(3):
            one.do(f"send {room_id} message {number}")
            other.until("message", room=room_id, sender=alice.user_id, body=f"message {number}")
        for app in (one, other):
            room = app.rooms()[room_id]
            assert (room["state"], room["encrypted"]) == ("Joined", "true")
        assert not [event for event in alice.history(room_id) if event["type"] == "m.room.message"]
