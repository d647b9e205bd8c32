"""A server with users who have devices: it answers questions for keys, and takes and sends EDUs."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

from local_cloud.permissions import acting_for
from murmuration.aws import dynamodb
from murmuration.federation.ephemera.sending import order_ephemera
from murmuration.federation.outbound.device_changes import order_device_changes
from murmuration.protocol.identifiers import UserId
from tests.federation.network import Received, Reply
from tests.federation.outbound import Workers
from tests.federation.peers import Peer
from tests.in_process import Answer
from tests.keys.crypto import KeyPair, device_keys

_messages = itertools.count(1)


@dataclass
class Elsewhere(Peer):
    """`devices` has the keys of Bob's devices; `edus` what we sent; `silent` says that it doesn't answer."""

    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    signing: dict[str, dict[str, Any]] = field(default_factory=dict)
    one_time: dict[str, dict[str, Any]] = field(default_factory=dict)
    stream_id: int = 1
    silent: bool = False
    edus: list[dict[str, Any]] = field(default_factory=list)
    transactions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def bob(self) -> UserId:
        return UserId(f"@bob:{self.name}")

    # -- Bob's devices -----------------------------------------------------------------------------------

    def log_in(self, device_id: str, name: str = "") -> dict[str, Any]:
        """Give Bob a device, and return the content of the update that announces it."""
        keys = device_keys(self.bob, device_id, KeyPair(device_id))
        self.devices[device_id] = keys
        more = {}
        if name:
            self.names[device_id] = name
            more = {"device_display_name": name}
        return self._update(device_id, keys=keys, **more)

    def log_out(self, device_id: str) -> dict[str, Any]:
        """Delete a device of Bob's, and return the content of the update that announces it."""
        del self.devices[device_id]
        return self._update(device_id, deleted=True)

    def _update(self, device_id: str, **content: Any) -> dict[str, Any]:
        self.stream_id += 1
        return {
            "user_id": self.bob,
            "device_id": device_id,
            "stream_id": self.stream_id,
            "prev_id": [self.stream_id - 1],
            **content,
        }

    def tell(self, *contents: dict[str, Any], kind: str = "m.device_list_update") -> Answer:
        """Send us EDUs of one type."""
        return self.send(edus=[{"edu_type": kind, "content": content} for content in contents])

    def message(self, messages: Any, *, message_id: str = "", **changes: Any) -> dict[str, Any]:
        """Return the content of a message from Bob's device."""
        return {
            "sender": self.bob,
            "type": "m.test",
            "message_id": message_id or f"m{next(_messages)}",
            "messages": messages,
            **changes,
        }

    # -- Being asked -------------------------------------------------------------------------------------

    def answer(self, received: Received) -> Reply:
        if self.silent and received.target.startswith("/_matrix/federation"):
            return Reply({}, 503)
        if received.target.startswith("/_matrix/federation/v1/send/"):
            transaction = json.loads(received.body)
            self.transactions.append(transaction)
            self.edus += transaction.get("edus", [])
            return Reply({"pdus": {}})
        return super().answer(received)

    def _answer(self, what: str, parts: list[str], query: dict[str, list[str]], body: Any) -> Any:
        match [what, *parts]:
            case ["user", "devices", user_id]:
                self.asked.append("devices")
                return {
                    "user_id": user_id,
                    "stream_id": self.stream_id,
                    "devices": [
                        {"device_id": name, "keys": keys, "device_display_name": self.names.get(name)}
                        for name, keys in self.devices.items()
                    ],
                    **{f"{name}_key": key for name, key in self.signing.items()},
                }
            case ["user", "keys", "query"]:
                self.asked.append("query")
                users = [user_id for user_id in body["device_keys"] if user_id == self.bob]
                return {
                    "device_keys": {user_id: self._shown() for user_id in users},
                    **{f"{name}_keys": dict.fromkeys(users, key) for name, key in self.signing.items()},
                }
            case ["user", "keys", "claim"]:
                claimed = {
                    user_id: {name: self.one_time.pop(name) for name in wanted if name in self.one_time}
                    for user_id, wanted in body["one_time_keys"].items()
                }
                return {"one_time_keys": claimed}
        return super()._answer(what, parts, query, body)

    def _shown(self) -> dict[str, Any]:
        return {
            name: {
                **keys,
                "unsigned": {"device_display_name": self.names[name]} if name in self.names else {},
            }
            for name, keys in self.devices.items()
        }

    def contents(self, kind: str) -> list[dict[str, Any]]:
        """Return the contents of the EDUs of a type that the server received, in order."""
        return [edu["content"] for edu in self.edus if edu["edu_type"] == kind]


class Streams:
    """What the worker of the table `streams` does for other servers, and the workers after it."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self._seen: dict[str, int] = {}

    def order(self, *names: str) -> None:
        """Order the sending of what is new in these streams."""
        for name in names:
            items = dynamodb.query(
                "streams",
                "stream_id = :stream AND seq > :seen",
                {":stream": name, ":seen": self._seen.get(name, 0)},
                index="by-seq",
            )
            if items:
                with acting_for("workers.streams"):
                    order_device_changes(items)
                    order_ephemera(items)
                self._seen[name] = items[-1]["seq"]  # not if it failed: the batch comes again

    def skip(self, *names: str) -> None:
        """Regard all items of these streams as already sent."""
        for name in names:
            items = dynamodb.query(
                "streams",
                "stream_id = :stream AND seq > :seen",
                {":stream": name, ":seen": 0},
                index="by-seq",
            )
            self._seen[name] = items[-1]["seq"] if items else 0

    def run(self, *names: str) -> None:
        """Order the sending of new items, and process all messages of the queue."""
        self.order(*names)
        self.workers.run()
