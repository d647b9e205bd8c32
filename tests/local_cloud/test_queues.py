from __future__ import annotations

import threading

import pytest

from local_cloud.aws.sqs_queue import Queue as SqsQueue
from local_cloud.lambdas import Lambdas
from local_cloud.pollers.queues import QueueMapping, QueueSettings
from murmuration.endpoint import Queue
from tests.local_cloud.routed import routed
from tests.local_cloud.waiting import until


class Worker:
    """A queue function: keeps its events, answers as `decide` says; `wait` for its n-th batch."""

    def __init__(self, decide=lambda bodies, event: None):
        self.batches: list[list[str]] = []
        self.called = threading.Semaphore(0)

        @routed(Queue("q"))
        def function(event, context):
            bodies = [record["body"] for record in event["Records"]]
            self.batches.append(bodies)
            try:
                return decide(bodies, event)
            finally:
                self.called.release()

        self.function = function

    def wait(self, times):
        for _ in range(times):
            assert self.called.acquire(timeout=5), self.batches


@pytest.fixture
def run():
    mappings = []

    def start(queue, worker, chaos="none", **settings):
        mapping = QueueMapping(
            worker.function, queue, QueueSettings(**settings), Lambdas(20), timeout=10, chaos=chaos
        )
        mappings.append((mapping, queue))
        mapping.start()
        return mapping

    yield start
    for mapping, queue in mappings:
        mapping.stop()
        queue.close()
        mapping.join(5)


def fifo(**attributes):
    return SqsQueue("q.fifo", {"FifoQueue": "true", **attributes})


def test_the_event_is_sqss(run):
    queue, worker = fifo(), Worker()
    queue.send(
        "body",
        group="g",
        deduplication="d",
        attributes={"a": {"DataType": "String", "StringValue": "1"}},
    )
    run(queue, worker)
    worker.wait(1)
    (record,) = worker.function.events[0]["Records"]
    assert set(record) == {
        "messageId", "receiptHandle", "body", "attributes", "messageAttributes", "md5OfBody", "eventSource",
        "eventSourceARN", "awsRegion",
    }  # fmt: skip
    assert record["attributes"]["MessageGroupId"] == "g"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["a"] == {
        "stringValue": "1",
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "String",
    }
    assert record["eventSourceARN"] == "arn:aws:sqs:us-east-1:000000000000:q.fifo"


def test_handled_messages_are_deleted(run):
    queue, worker = SqsQueue("q", {}), Worker()
    run(queue, worker)
    queue.send("m")
    worker.wait(1)
    until(lambda: queue.counts() == (0, 0, 0))


def test_a_batch_that_raises_comes_back_after_its_visibility_timeout(run):
    tries = iter([True, False])

    def decide(bodies, event):
        if next(tries):
            raise ValueError

    queue, worker = SqsQueue("q", {"VisibilityTimeout": "0.05"}), Worker(decide)
    for body in ("1", "2"):
        queue.send(body)
    run(queue, worker)
    worker.wait(2)
    assert worker.batches == [["1", "2"], ["1", "2"]]


def test_only_failed_messages_come_back(run):
    def decide(bodies, event):
        failed = [r["messageId"] for r in event["Records"] if r["body"] == "2" and len(worker.batches) == 1]
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}

    queue, worker = SqsQueue("q", {"VisibilityTimeout": "0.05"}), Worker(decide)
    for body in "123":
        queue.send(body)
    run(queue, worker)
    worker.wait(2)
    assert worker.batches == [["1", "2", "3"], ["2"]]


def test_groups_run_side_by_side_and_each_in_order(run):
    both = threading.Barrier(2)

    def decide(bodies, event):
        if bodies[0].endswith("0"):
            both.wait(5)  # only passes if the two groups are being handled at once

    queue, worker = fifo(), Worker(decide)
    for number in range(3):
        for group in "ab":
            queue.send(f"{group}{number}", group=group, deduplication=f"{group}{number}")
    run(queue, worker, batch_size=1)
    worker.wait(6)
    for group in "ab":
        assert [b[0] for b in worker.batches if b[0].startswith(group)] == [f"{group}{n}" for n in range(3)]


def test_concurrency_is_bounded(run):
    running, most, lock = 0, 0, threading.Lock()

    def decide(bodies, event):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    queue, worker = SqsQueue("q", {}), Worker(decide)
    for number in range(20):
        queue.send(str(number))
    run(queue, worker, batch_size=1, maximum_concurrency=3)
    worker.wait(20)
    assert most <= 3


def test_chaos_delivers_each_batch_twice(run):
    queue, worker = SqsQueue("q", {}), Worker()
    queue.send("m")
    run(queue, worker, chaos="twice")
    worker.wait(2)
    assert worker.batches == [["m"], ["m"]]
