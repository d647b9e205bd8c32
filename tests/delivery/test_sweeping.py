"""The clock and the sweep call workers for messages that are due or waiting, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from functions.workers.clock import ring_when_due, sweep_queues
from local_cloud.aws import patch
from local_cloud.aws.sqs import Sqs
from local_cloud.names import QUEUE_URLS
from local_cloud.permissions import acting_for, module_of
from murmuration.aws import dynamodb, queues
from murmuration.cache import LruCache
from murmuration.delivery import sweeping
from murmuration.endpoint import Queue, discover
from murmuration.endpoint.workers import StreamItem
from murmuration.settings import settings
from murmuration.storage import clock

if TYPE_CHECKING:
    from local_cloud.aws.shapes import SendMessage

PUSHES, DELAYED = "socket-pushes", "delayed-events"


class World:
    """The queues, who was rung, and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sqs = Sqs()
        self.rung: list[str] = []
        self.now_ms = 1_800_000_000_000
        for name, fifo in queues.FIFO.items():
            physical = settings().queue(name) + (".fifo" if fifo else "")
            attributes = {"FifoQueue": "true"} if fifo else {}
            self.sqs.create_queue({"QueueName": physical, "Attributes": attributes})
        self.services = patch.Services({"sqs": self.sqs.operations(), "lambda": {"Invoke": self._invoke}})
        patch.install(self.services)
        for module in (queues, sweeping, clock):
            monkeypatch.setattr(module, "now_ms", lambda: self.now_ms)

    def _invoke(self, params: dict[str, Any]) -> dict[str, Any]:
        self.rung.append(params["FunctionName"].partition("-queue-")[2])
        return {"StatusCode": 202}

    def pass_by(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)

    def turn(self) -> bool:
        """Call the stream's function, and return whether the clock continues and calls it again."""
        before = hand()
        with acting_for(module_of(ring_when_due.handler)):
            ring_when_due.handler.function([StreamItem()])
        return bool(hand() != before)

    def sweep(self) -> None:
        with acting_for(module_of(sweep_queues.handler)):
            sweep_queues.handler({})


def hand() -> Any:
    found = dynamodb.get("clock", clock.HAND)
    return found and found["moved_ms"]


@pytest.fixture
def world(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("MURMURATION_QUEUE_URLS", QUEUE_URLS)
    monkeypatch.setattr(queues, "_urls", LruCache(10))
    settings.cache_clear()
    keys = [{"pk": item["pk"], "sk": item["sk"]} for item in dynamodb.scan("clock")]
    dynamodb.batch_write([dynamodb.delete("clock", key) for key in keys])  # of other tests
    made = World(monkeypatch)
    yield made
    made.sqs.close()
    patch.uninstall(made.services)
    monkeypatch.undo()
    settings.cache_clear()


def test_a_delayed_message_rings_when_its_time_has_come(world: World) -> None:
    queues.send_later(PUSHES, {"connection_id": "c"}, 15)
    assert world.rung == []
    assert world.turn(), "the clock goes"
    world.pass_by(10)
    assert world.turn()
    assert world.rung == []
    world.pass_by(6)
    assert not world.turn(), "nothing more is due: the clock stands still"
    assert world.rung == [PUSHES]
    assert not world.turn()
    assert world.rung == [PUSHES]


def test_the_ring_comes_once_the_message_can_be_had(world: World) -> None:
    """SQS holds a message back until the end of the second in which it is due."""
    world.now_ms += 999
    queues.send_later(PUSHES, {"connection_id": "c"}, 1)
    world.pass_by(0.999)
    world.turn()
    assert world.rung == []
    world.pass_by(1.001)
    world.turn()
    assert world.rung == [PUSHES]


def test_no_delay_is_a_ring(world: World) -> None:
    queues.send_later(DELAYED, {"delay_id": "d"}, 0)
    assert world.rung == [DELAYED]
    assert not clock.read_due(1_900_000_000)


def test_what_is_due_at_one_second_rings_once_for_each_queue(world: World) -> None:
    for number in range(5):
        queues.send_later(PUSHES, {"connection_id": str(number)}, 5)
    queues.send_later(DELAYED, {"delay_id": "d"}, 5)
    assert len(clock.read_due(1_900_000_000)) == 2
    world.pass_by(6)
    world.turn()
    assert sorted(world.rung) == [DELAYED, PUSHES]


def test_what_is_due_much_later_costs_nothing_until_then(world: World) -> None:
    queues.send_later(DELAYED, {"delay_id": "d"}, 900)
    assert not world.turn()
    world.pass_by(900 - sweeping.SOON_S + 2)
    world.sweep()
    world.pass_by(2)
    assert world.turn(), "the sweep set it going"
    world.pass_by(sweeping.SOON_S)
    world.turn()
    assert world.rung == [DELAYED]


def test_who_stops_before_a_row_is_gone_rings_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    queues.send_later(PUSHES, {"connection_id": "c"}, 1)
    world.pass_by(2)

    def stop(*_: Any) -> None:
        raise ConnectionError("the function is stopped")

    with monkeypatch.context() as broken:
        broken.setattr(clock, "forget", stop)
        with pytest.raises(ConnectionError):
            world.turn()
    world.turn()
    assert world.rung == [PUSHES, PUSHES]
    assert not clock.read_due(1_900_000_000)


def test_a_sweep_rings_for_what_waits_and_for_nothing_else(world: World) -> None:
    world.sweep()
    assert world.rung == []
    body: SendMessage = {"QueueUrl": queues.url_of(settings().queue(PUSHES)), "MessageBody": "{}"}
    world.sqs.send_message(body)  # as a redrive of dead letters brings it back
    world.sweep()
    assert world.rung == [PUSHES]


def test_a_long_queue_has_several_workers_and_not_too_many(world: World) -> None:
    for _ in range(200):
        body: SendMessage = {"QueueUrl": queues.url_of(settings().queue(PUSHES)), "MessageBody": "{}"}
        world.sqs.send_message(body)
    world.sweep()
    assert world.rung == [PUSHES] * sweeping.MOST_RINGS


def test_a_server_that_does_not_federate_has_no_queue_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MURMURATION_FEDERATION", "off")
    settings.cache_clear()
    for name in queues.FEDERATION:
        world.sqs.delete_queue({"QueueUrl": settings().queue(name) + (".fifo" if queues.FIFO[name] else "")})
    world.sweep()
    queues.send("remote-joins", {"user_id": "@a:b"})
    queues.send_later("remote-joins", {"user_id": "@a:b"}, 60)
    queues.send_all("outbound", [queues.Message({}, "g", "d")])
    assert world.rung == []
    assert not clock.read_due(1_900_000_000)


def test_the_queues_are_those_of_the_functions() -> None:
    routes = [function.route for function in discover() if isinstance(function.route, Queue)]
    assert {route.name: route.fifo for route in routes} == dict(queues.FIFO)
    assert {route.name for route in routes if route.federation} == queues.FEDERATION
