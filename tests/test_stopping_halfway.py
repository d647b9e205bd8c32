"""Requests that stop at each of their writes and are repeated have the same result as uninterrupted ones.

Each operation is carried out once without interruption, and then for each of its writes in each of the ways
in which one fails. The client repeats its request if it got an error, and everybody's syncs have to show the
same. A transaction that is sent twice is one, by the token that it bears.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults import fault, ways_to_stop
from tests.in_process import Answer, Client, segment
from tests.keys.crypto import KeyPair, device_keys, one_time_keys
from tests.rooms.people import V3, create_room, join, ok, path, send

MakeClient = Callable[..., Client]
_PASSING = {"age", "last_active_ago", "next_batch", "origin_server_ts", "prev_batch", "transaction_id", "ts"}
_NAME = re.compile(r"@(\w+)-\d+-\d+:example\.org|[!$][\w-]{43}")
PAIR = KeyPair("DEVICE")


@dataclass
class Scene:
    """Alice and Bob in a room of Alice's, to which Carol is invited; a message of Alice's."""

    make_client: MakeClient
    alice: Client = field(init=False)
    bob: Client = field(init=False)
    carol: Client = field(init=False)
    room_id: str = field(init=False)
    event_id: str = field(init=False)
    since: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.alice, self.bob, self.carol = (self.make_client(name) for name in ("alice", "bob", "carol"))
        self.room_id = create_room(self.alice, invite=[self.bob.user_id, self.carol.user_id])
        join(self.bob, self.room_id)
        self.event_id = send(self.alice, self.room_id, "first")
        for client in self.everybody:
            self.since[client.user_id] = ok(client.get(f"{V3}/sync"))["next_batch"]

    @property
    def everybody(self) -> list[Client]:
        return [self.alice, self.bob, self.carol]

    def path(self, *rest: str) -> str:
        return path(self.room_id, *rest)

    def picture(self) -> str:
        """Return everything that each user is told from now on, and that Bob gets by a first sync.

        IDs are replaced by names, and times are left out.
        """
        seen = [ok(each.get(f"{V3}/sync", since=self.since[each.user_id])) for each in self.everybody]
        seen.append(ok(self.bob.get(f"{V3}/sync", filter='{"room": {"include_leave": true}}')))
        numbers: dict[str, int] = {}

        def rename(match: re.Match[str]) -> str:
            return match[1] or f"{match[0][0]}{numbers.setdefault(match[0], len(numbers))}"

        return _NAME.sub(rename, json.dumps(_lasting(seen), indent=1, sort_keys=True))


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(each) for name, each in value.items() if name not in _PASSING}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


def upload_keys(scene: Scene) -> Answer:
    bob = scene.bob
    keys = {
        "device_keys": device_keys(bob.user_id, "DEVICE", PAIR),
        "one_time_keys": one_time_keys(bob.user_id, PAIR, ["a", "b", "c"]),
        "fallback_keys": one_time_keys(bob.user_id, PAIR, ["f"], fallback=True),
    }
    return bob.post(f"{V3}/keys/upload", keys)


def send_to_device(scene: Scene) -> Answer:
    messages = {scene.alice.user_id: {"*": {"n": 1}}, scene.carol.user_id: {"DEVICE": {"n": 2}}}
    return scene.bob.put(f"{V3}/sendToDevice/m.x/t1", {"messages": messages})


def read_up_to(scene: Scene) -> Answer:
    names = ("m.fully_read", "m.read", "m.read.private")
    return scene.bob.post(scene.path("read_markers"), dict.fromkeys(names, scene.event_id))


OPERATIONS: dict[str, Callable[[Scene], Answer]] = {
    "ban": lambda scene: scene.alice.post(scene.path("ban"), {"user_id": scene.bob.user_id}),
    "display name": lambda scene: scene.bob.put(
        f"{V3}/profile/{segment(scene.bob.user_id)}/displayname", {"displayname": "Bobby"}
    ),
    "join": lambda scene: scene.carol.post(scene.path("join")),
    "keys": upload_keys,
    "leave": lambda scene: scene.bob.post(scene.path("leave")),
    "message": lambda scene: scene.bob.put(
        scene.path("send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "third"}
    ),
    "read markers": read_up_to,
    "redaction": lambda scene: scene.alice.put(scene.path("redact", scene.event_id, "t1"), {}),
    "to-device message": send_to_device,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_was_interrupted_and_repeated_is_done_once(make_client: MakeClient, name: str) -> None:
    operation = OPERATIONS[name]
    scene = Scene(make_client)
    with fault(0) as whole:
        ok(operation(scene))
    expected = scene.picture()
    assert whole.writes > 0
    for number, way in ways_to_stop(whole):
        scene = Scene(make_client)
        with fault(number, way):
            answer = operation(scene)
        if answer.status != 200:  # a write that lost a race failed anyway, and was tried again
            assert answer.status == 500
            ok(operation(scene))
        assert scene.picture() == expected, f"write {number} of {whole.writes} {way.value}"
