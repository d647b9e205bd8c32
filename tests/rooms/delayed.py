"""Common steps of the tests of delayed events: schedule, let time pass, deliver the queue's messages."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pytest

from local_cloud.permissions import acting_for
from murmuration.aws import dynamodb, queues
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.rooms.delayed import delivery, managing, orders
from murmuration.storage import parked
from murmuration.storage.users import delayed_events
from tests.in_process import Answer, Client, segment
from tests.rooms.people import bodies, messages, ok, path

UNSTABLE = "/_matrix/client/unstable/org.matrix.msc4140"
STABLE = "/_matrix/client/v1"
TEXT = {"msgtype": "m.text", "body": "later"}
_transactions = itertools.count(1)


class Time:
    """The clock that delayed events go by, and the queue `delayed-events`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.passed = 0
        self.queue: list[tuple[int, dict[str, Any]]] = []
        self.delays: list[int] = []
        for module in (delivery, managing, orders, delayed_events, parked):
            patch.setattr(module, "now_ms", self.now)
        patch.setattr("murmuration.clock.now_ms", self.now)
        patch.setattr(rate_limits, "now_ms", now_ms)
        patch.setattr(queues, "send_later", self._send)
        watched = dynamodb.query("parked", "pk = :pk", {":pk": "delayed-events"}, attributes=("pk", "sk"))
        dynamodb.batch_write([dynamodb.delete("parked", key) for key in watched])  # of other tests

    def now(self) -> int:
        return now_ms() + self.passed

    def _send(self, name: str, body: Mapping[str, Any], delay_s: int) -> None:
        assert name == orders.QUEUE
        assert 0 <= delay_s <= 900
        self.delays.append(delay_s)
        self.queue.append((self.now() + delay_s * 1000, json.loads(json.dumps(body))))

    def pass_by(self, milliseconds: int) -> None:
        """Let time pass, and let the worker do what is due by then."""
        end = self.passed + milliseconds
        while due := sorted(at for at, _ in self.queue if at <= now_ms() + end):
            self.passed = max(self.passed, due[0] - now_ms())
            self.work()
        self.passed = end

    def work(self) -> None:
        """Bring the messages that are no longer held back to the worker."""
        waiting, self.queue = self.queue, []
        for at, body in waiting:
            if at > self.now():
                self.queue.append((at, body))
                continue
            with acting_for("workers.delayed_events"):
                delivery.deliver(body)

    def look_after(self) -> None:
        with acting_for("workers.delayed_events"):
            delivery.look_after()


def request_message(client: Client, room_id: str, delay: Any, content: Any = None, **query: Any) -> Answer:
    """Schedule a message by the query parameter that apps use."""
    where = path(room_id, "send", "m.room.message", f"d{next(_transactions)}")
    return client.put(
        where, TEXT if content is None else content, **{"org.matrix.msc4140.delay": delay}, **query
    )


def delay_message(client: Client, room_id: str, delay: int, content: Any = None) -> str:
    return str(ok(request_message(client, room_id, delay, content))["delay_id"])


def delay_state(
    client: Client, room_id: str, delay: int, event_type: str, content: Any, state_key: str = ""
) -> str:
    where = path(room_id, "state", event_type, state_key)
    return str(ok(client.put(where, content, **{"org.matrix.msc4140.delay": delay}))["delay_id"])


def said(client: Client, room_id: str) -> list[str]:
    """Return the texts of the messages in a room, the newest first."""
    return bodies(messages(client, room_id, limit=100)["chunk"])


def store(client: Client, room_id: RoomId) -> str:
    """Schedule an event without a request, and return its delay ID."""
    delay_id = delayed_events.make_delay_id(UserId(client.user_id), b"%d" % next(_transactions))
    delayed_events.schedule(
        delayed_events.DelayedEvent(
            delay_id,
            UserId(client.user_id),
            DeviceId(client.device_id),
            room_id,
            "m.x",
            None,
            {},
            60_000,
            now_ms(),
        )
    )
    return delay_id


class Stage(Protocol):
    """Somebody and their room."""

    alice: Client
    room: str


def scheduling_one(stage: Stage) -> Answer:
    return request_message(stage.alice, RoomId(stage.room), 60_000)


def managing_one(action: str) -> Callable[[Stage], Answer]:
    """Act as somebody who knows a delay ID and has no token."""
    return lambda stage: manage(Client(), store(stage.alice, RoomId(stage.room)), action)


def look_up(client: Client, delay_id: str, base: str = UNSTABLE) -> Answer:
    return client.get(f"{base}/delayed_events/{segment(delay_id)}")


def manage(client: Client, delay_id: str, action: str, base: str = UNSTABLE) -> Answer:
    return client.post(f"{base}/delayed_events/{segment(delay_id)}/{action}")


def end_of(client: Client, delay_id: str) -> Any:
    """Return how a delayed event ended; None while it is scheduled."""
    return ok(look_up(client, delay_id)).get("finalised")


def listed(client: Client, base: str = UNSTABLE, **query: Any) -> list[str]:
    """Return the IDs of the client's scheduled events."""
    return [each["delay_id"] for each in ok(client.get(f"{base}/delayed_events", **query))["delayed_events"]]
