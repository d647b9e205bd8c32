"""Invocations call queues' workers, which receive messages from local SQS by the rules of Lambda and SQS."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local_cloud.aws import patch, sqs_queue
from local_cloud.aws.patch import AwsError
from local_cloud.aws.sqs import Sqs
from local_cloud.lambdas import Lambdas
from local_cloud.names import QUEUE_URLS
from local_cloud.permissions import acting_for
from local_cloud.pollers.invocations import Invocations
from murmuration.aws import queues
from murmuration.cache import LruCache
from murmuration.endpoint.workers import QueueWorker, queue_worker
from murmuration.settings import settings
from tests.local_cloud.routed import Routed
from tests.local_cloud.waiting import PATIENCE_S, until

NAME, FIFO = "gateway-pushes", "outbound"


VISIBILITY_S = 30


class Time:
    """The queues' time, which tests let pass."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s


class Stage:
    """Two queues with workers; `taken` is what they were given, `work` what they do with it."""

    def __init__(self, now: Time, *, repeats: bool = False, at_once: int = 10) -> None:
        self.now = now
        self.sqs = Sqs(repeats=repeats)
        self.lambdas = Lambdas(20)
        self.invocations = Invocations(
            self.lambdas, timeout=10, chaos="twice" if repeats else "none", at_once=at_once
        )
        self.rings = 0
        self.deaf = False
        self.taken: list[str] = []
        self.work: Callable[[str], None] = lambda _: None
        self._lock = threading.Lock()
        dead = settings().queue("dead-letters")
        for suffix in ("", ".fifo"):
            more = {"FifoQueue": "true"} if suffix else {}
            self.sqs.create_queue({"QueueName": dead + suffix, "Attributes": more})
        for name, suffix in ((NAME, ""), (FIFO, ".fifo")):
            redrive = {"deadLetterTargetArn": f"arn:::{dead}{suffix}", "maxReceiveCount": 3}
            attributes = {"VisibilityTimeout": str(VISIBILITY_S), "RedrivePolicy": json.dumps(redrive)}
            attributes |= {"FifoQueue": "true"} if suffix else {}
            self.sqs.create_queue({"QueueName": settings().queue(name) + suffix, "Attributes": attributes})
            worker = queue_worker(name, fifo=bool(suffix), batch_size=1 if suffix else 10)(self._take)
            self.invocations.add(settings().worker(name), _function(worker))
        self.services = patch.Services({"sqs": self.sqs.operations(), "lambda": {"Invoke": self._invoke}})
        patch.install(self.services)

    def _invoke(self, params: dict[str, Any]) -> dict[str, Any]:
        self.rings += 1
        return {"StatusCode": 202} if self.deaf else self.invocations.invoke(params)

    def _take(self, body: dict[str, Any]) -> None:
        with self._lock:
            self.taken.append(body["n"])
        self.work(body["n"])

    def put(self, text: str, group: str) -> None:
        queues.send_all(FIFO, [queues.Message({"n": text}, group, text)])

    @property
    def is_idle(self) -> bool:
        return not any(queue.running for queue in self.invocations._queues.values())

    def has_done(self, name: str, *, fifo: bool = False) -> bool:
        """Return whether a queue is empty. If not, sweep when failed messages are visible again."""
        if is_empty(self, name, fifo=fifo):
            return True
        if self.is_idle:
            self.now.ahead_s += VISIBILITY_S + 1
            if queues.waiting(name):
                queues.ring(name, queues.UNKNOWN)
        return False

    def counts(self, name: str) -> tuple[int, int, int]:
        return self.sqs.queue(name).counts()

    def dead(self, *, fifo: bool) -> list[str]:
        queue = self.sqs.queue(settings().queue("dead-letters") + (".fifo" if fifo else ""))
        return [json.loads(each.body)["n"] for each in queue.receive(10, wait=0)]

    def close(self) -> None:
        self.invocations.close()
        self.sqs.close()
        self.lambdas.close()
        patch.uninstall(self.services)


def _function(worker: QueueWorker) -> Any:
    return Routed(worker, worker.route, name=f"test-{worker.route.name}")


@pytest.fixture
def stages(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stage]]:
    monkeypatch.setenv("MURMURATION_QUEUE_URLS", QUEUE_URLS)
    monkeypatch.setattr(queues, "_urls", LruCache(10))
    settings.cache_clear()
    monkeypatch.setattr(sqs_queue, "time", now := Time())
    made: list[Stage] = []

    def make(**options: Any) -> Stage:
        made.append(Stage(now, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def stage(stages: Callable[..., Stage]) -> Stage:
    return stages()


def is_empty(stage: Stage, name: str = NAME, *, fifo: bool = False) -> bool:
    return stage.counts(settings().queue(name) + (".fifo" if fifo else "")) == (0, 0, 0)


def test_whoever_queues_something_has_it_done(stage: Stage) -> None:
    queues.send(NAME, {"n": "1"})
    until(lambda: is_empty(stage))
    assert (stage.taken, stage.rings) == (["1"], 1)


def test_ten_messages_cost_one_ring(stage: Stage) -> None:
    queues.send_each(NAME, [{"n": str(number)} for number in range(23)])
    until(lambda: is_empty(stage))
    assert sorted(stage.taken, key=int) == [str(number) for number in range(23)]
    assert stage.rings == 3


def test_nothing_is_sent_for_nobody(stage: Stage) -> None:
    queues.send_each(NAME, [])
    queues.send_all(FIFO, [])
    assert stage.rings == 0


def test_what_fails_comes_again_and_ends_among_the_dead_letters(stage: Stage) -> None:
    def work(text: str) -> None:
        if text == "bad":
            raise ConnectionError("the gateway is away")

    stage.work = work
    queues.send_each(NAME, [{"n": "good"}, {"n": "bad"}])
    until(lambda: stage.has_done(NAME))
    assert stage.taken.count("bad") == 3
    assert stage.taken.count("good") == 1
    assert stage.dead(fifo=False) == ["bad"]


def test_a_worker_that_dies_loses_nothing(stage: Stage) -> None:
    """A function that is killed reports nothing and has deleted no message."""
    dying = iter([True])

    def work(_: str) -> None:
        if next(dying, False):
            raise KeyboardInterrupt

    stage.work = work
    worker = queue_worker(NAME, fifo=False)(stage._take)
    stage.deaf = True
    queues.send_each(NAME, [{"n": "1"}, {"n": "2"}])
    with pytest.raises(KeyboardInterrupt):
        worker({"waiting": 2})
    assert stage.taken == ["1"]
    stage.now.ahead_s += VISIBILITY_S + 1
    assert queues.waiting(NAME) == 2
    worker({"waiting": 0})
    assert sorted(stage.taken[1:]) == ["1", "2"]
    assert is_empty(stage)


def test_a_lost_ring_is_made_up_for(stage: Stage) -> None:
    stage.deaf = True
    queues.send(NAME, {"n": "1"})
    assert queues.waiting(NAME) == 1
    stage.deaf = False
    queues.ring(NAME, queues.UNKNOWN)
    until(lambda: is_empty(stage))


def test_a_ring_that_is_refused_is_no_error(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> dict[str, Any]:
        raise AwsError("TooManyRequestsException", "Rate exceeded", 429)

    monkeypatch.setattr(stage, "_invoke", refuse)
    monkeypatch.setattr("murmuration.aws.calls.FIRST_PAUSE_S", 0)
    stage.services.operations["lambda"]["Invoke"] = refuse  # type: ignore[index]
    queues.send(NAME, {"n": "1"})
    assert queues.waiting(NAME) == 1


def test_groups_run_side_by_side_and_each_in_order(stage: Stage) -> None:
    both = threading.Barrier(2)

    def work(text: str) -> None:
        if text.endswith("0"):
            both.wait(PATIENCE_S)  # only passes if the two groups are at work at once

    stage.work = work
    for number in range(3):
        for group in "ab":
            stage.put(f"{group}{number}", group)
    until(lambda: is_empty(stage, FIFO, fifo=True))
    for group in "ab":
        of_group = [text for text in stage.taken if text.startswith(group)]
        assert of_group == [f"{group}{number}" for number in range(3)]


class Overlapping:
    """A worker's work that counts how often it is done at once, at most."""

    def __init__(self) -> None:
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()
        self._others = threading.Event()

    def __call__(self, _: str) -> None:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        self._others.wait(0.002)
        with self._lock:
            self._running -= 1


def test_no_two_workers_are_at_one_group(stage: Stage) -> None:
    stage.work = work = Overlapping()
    for number in range(20):
        stage.put(str(number), "one")
    until(lambda: is_empty(stage, FIFO, fifo=True))
    assert work.most == 1
    assert stage.taken == [str(number) for number in range(20)]


def test_a_group_waits_for_its_message_that_failed(stage: Stage) -> None:
    tries = iter([True, True])

    def work(text: str) -> None:
        if text == "a0" and next(tries, False):
            raise ConnectionError("later")

    stage.work = work
    queues.send_all(FIFO, [queues.Message({"n": text}, text[0], text) for text in ("a0", "a1", "b0")])
    until(lambda: stage.has_done(FIFO, fifo=True))
    assert [text for text in stage.taken if text[0] == "a"] == ["a0", "a0", "a0", "a1"]
    assert stage.dead(fifo=True) == []


def test_concurrency_is_bounded(stages: Callable[..., Stage]) -> None:
    stage = stages(at_once=3)
    stage.work = work = Overlapping()
    for number in range(20):
        stage.put(str(number), str(number))
    until(lambda: is_empty(stage, FIFO, fifo=True))
    assert len(stage.taken) == 20
    assert work.most <= 3


def test_who_has_little_time_left_has_another_go_on(stage: Stage) -> None:
    class Context:
        """A function that has used more of its time at each look."""

        left = 10_000

        def get_remaining_time_in_millis(self) -> int:
            self.left -= 600
            return self.left

    worker = queue_worker(FIFO, batch_size=1)(stage._take)
    stage.deaf = True
    for number in range(5):
        stage.put(str(number), "one")
    rings = stage.rings
    worker({"waiting": 1}, Context())
    assert 0 < len(stage.taken) < 5
    assert stage.rings == rings + 1


def test_everything_may_come_twice(stages: Callable[..., Stage]) -> None:
    stage = stages(repeats=True)
    queues.send(NAME, {"n": "1"})
    stage.put("a0", "a")
    stage.put("a1", "a")
    until(lambda: is_empty(stage) and is_empty(stage, FIFO, fifo=True))
    assert stage.taken.count("1") == 2
    assert [text for text in stage.taken if text[0] == "a"] == ["a0", "a0", "a1", "a1"]


def test_a_worker_may_do_with_its_own_queue_what_its_route_says(stage: Stage) -> None:
    stage.deaf = True
    queues.send(NAME, {"n": "1"})
    worker = queue_worker(NAME, fifo=False)(stage._take)
    with acting_for("workers.pushes", NAME):
        worker({"waiting": 1})
    assert stage.taken == ["1"]
    with acting_for("workers.pushes"), pytest.raises(Exception, match="receive on queues gateway-pushes"):
        worker({"waiting": 1})


def test_only_known_functions_are_invoked(stage: Stage) -> None:
    for asked in ({"FunctionName": "x"}, {"FunctionName": settings().worker(NAME)}):
        with pytest.raises(AwsError):
            stage.invocations.invoke(asked)
