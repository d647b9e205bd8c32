from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from local_cloud.lambdas import Lambdas
from local_cloud.pollers.batches import failed_identifiers
from local_cloud.pollers.checkpoints import Checkpoints
from local_cloud.pollers.stream_source import Changes, Record, sequence_number
from local_cloud.pollers.streams import StreamMapping, StreamSettings
from local_cloud.store import Store
from murmuration.endpoint import Stream
from tests.local_cloud.routed import routed
from tests.local_cloud.waiting import PATIENCE_S, until


class Table:
    """Records that a test writes, and a mapping reads."""

    def __init__(self):
        self.records: list[Record] = []
        self.changes = Changes()

    def write(self, *items, age=0.0):
        for item in items:
            position = len(self.records) + 1
            change = {
                "SequenceNumber": sequence_number(position),
                "ApproximateCreationDateTime": time.time() - age,
                "NewImage": {"item": {"S": item}},
            }
            self.records.append(Record(position, {"dynamodb": change, "eventSourceARN": "arn:stream"}))
        self.changes.notify()

    def read(self, after, limit):
        return self.records[after : after + limit]

    def close(self):
        pass


class Worker:
    """A stream function: keeps what it gets, answers as `decide` says of each batch of items."""

    def __init__(self, expected, decide=lambda items: None):
        self.batches: list[list[str]] = []
        self.done = threading.Event()

        @routed(Stream("table"))
        def function(event, context):
            items = [record["dynamodb"]["NewImage"]["item"]["S"] for record in event["Records"]]
            self.batches.append(items)
            answer = decide(items)
            if set(items) & expected:
                self.done.set()
            return answer

        self.function = function

    def wait(self):
        assert self.done.wait(PATIENCE_S), self.batches


def numbers_of(items, failed):
    return {
        "batchItemFailures": [
            {"itemIdentifier": sequence_number(ord(item) - ord("a") + 1)} for item in items if item in failed
        ]
    }


@pytest.fixture
def run(tmp_path):
    """Start a mapping from a table to a worker; `stop` ends it."""
    mappings = []
    store = Store(tmp_path / "cloud.sqlite3")

    def start(table, worker, chaos="none", on_failure=None, **settings):
        mapping = StreamMapping(
            worker.function,
            StreamSettings(first_backoff=0.001, longest_backoff=0.002, **settings),
            lambda: table,
            table.changes,
            Checkpoints(store),
            Lambdas(10),
            timeout=10,
            chaos=chaos,
            on_failure=on_failure,
        )
        mappings.append((mapping, table))
        mapping.start()
        return mapping

    yield start
    for mapping, table in mappings:
        mapping.stop()
        table.changes.close()
        mapping.join(PATIENCE_S)
    store.close()


def test_records_come_in_order_and_in_batches(run):
    table, worker = Table(), Worker({"e"})
    table.write(*"abcde")
    run(table, worker, batch_size=2)
    worker.wait()
    assert worker.batches == [["a", "b"], ["c", "d"], ["e"]]


def test_a_write_wakes_a_mapping_that_waits(run):
    table, worker = Table(), Worker({"a"})
    run(table, worker)
    until(lambda: table.changes._condition._waiters)  # type: ignore[attr-defined]
    table.write("a")
    worker.wait()
    assert worker.batches == [["a"]]


def test_a_new_process_goes_on_where_the_old_one_was(run):
    table, worker = Table(), Worker({"b"})
    table.write(*"ab")
    mapping = run(table, worker)
    worker.wait()
    mapping.stop()
    table.changes.notify()
    mapping.join(PATIENCE_S)
    table.write("c")
    again = Worker({"c"})
    again.function.name = worker.function.name
    run(table, again)
    again.wait()
    assert again.batches == [["c"]]


def test_what_was_not_done_is_delivered_again_after_a_restart(run):
    table = Table()
    table.write(*"ab")
    worker = Worker({"a"}, lambda items: numbers_of(items, "b"))
    mapping = run(table, worker)
    worker.wait()
    mapping.stop()
    mapping.join(PATIENCE_S)
    again = Worker({"b"})
    again.function.name = worker.function.name
    run(table, again)
    again.wait()
    assert again.batches == [["b"]]


def test_a_batch_that_raises_is_halved_until_the_bad_record_is_alone(run):
    def decide(items):
        if "c" in items and tries["c"] > 0:
            tries["c"] -= 1
            raise ValueError("c is bad")

    tries = {"c": 6}
    table, worker = Table(), Worker({"h"}, decide)
    table.write(*"abcdefgh")
    run(table, worker)
    worker.wait()
    assert worker.batches[:4] == [list("abcdefgh"), list("abcd"), ["a", "b"], ["c", "d"]]
    assert worker.batches[4:8] == [["c"]] * 4
    assert worker.batches[8:] == [["d"], list("efgh")]


def test_without_halving_the_whole_batch_comes_again(run):
    failures = iter([True, True, False])

    def decide(items):
        if next(failures):
            raise ValueError
        handled.set()

    handled = threading.Event()
    table, worker = Table(), Worker(set(), decide)
    table.write(*"abc")
    run(table, worker, bisect_batch_on_function_error=False)
    assert handled.wait(PATIENCE_S)
    assert worker.batches == [list("abc")] * 3


def test_partial_failure_delivers_again_from_the_lowest_failed(run):
    failing = iter([{"e", "c"}, {"e"}, set()])
    third = threading.Event()

    def decide(items):
        failed = next(failing)
        if not failed:
            third.set()
        return numbers_of(items, failed)

    table, worker = Table(), Worker(set(), decide)
    table.write(*"abcdef")
    mapping = run(table, worker)
    assert third.wait(PATIENCE_S)
    mapping.stop()
    table.changes.close()
    mapping.join(PATIENCE_S)
    assert worker.batches == [list("abcdef"), list("cdef"), list("ef")]
    assert mapping.position == 6


def test_retries_end_and_the_stream_goes_on(run):
    def decide(items):
        if items == ["a"] or "a" in items:
            raise ValueError("a is bad")

    failures: list[dict] = []
    table, worker = Table(), Worker({"b"}, decide)
    table.write(*"ab")
    run(table, worker, maximum_retry_attempts=2, on_failure=failures.append)
    worker.wait()
    assert worker.batches == [["a", "b"], ["a"], ["a"], ["a"], ["b"]]
    (failure,) = failures
    assert failure["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert failure["DDBStreamBatchInfo"]["startSequenceNumber"] == sequence_number(1)
    assert failure["DDBStreamBatchInfo"]["batchSize"] == 1


def test_a_record_that_is_too_old_is_given_up(run):
    def decide(items):
        if "a" in items:
            raise ValueError("a is bad")

    table, worker = Table(), Worker({"b"}, decide)
    table.write("a", age=90_000)
    table.write("b")
    run(table, worker)
    worker.wait()
    assert worker.batches == [["a", "b"], ["a"], ["b"]]


def test_what_is_written_within_the_window_joins_the_batch(run, monkeypatch):
    table, worker = Table(), Worker({"c"})
    table.write("a")
    read, later = table.read, iter([["b", "c"]])

    def read_then_write(after, limit):
        found = read(after, limit)
        table.write(*next(later, []))
        return found

    monkeypatch.setattr(table, "read", read_then_write)
    run(table, worker, batch_window=0.01)
    worker.wait()
    assert worker.batches == [list("abc")]


@pytest.mark.parametrize(
    ("chaos", "batches"),
    [("twice", [["a", "b"], ["a", "b"]]), ("pieces", [["a"], ["a"], ["b"], ["b"]])],
)
def test_chaos_delivers_as_at_least_once_allows(run, chaos, batches):
    table = Table()
    calls = threading.Semaphore(0)
    worker = Worker(set(), lambda items: calls.release())
    table.write(*"ab")
    run(table, worker, chaos=chaos)
    for _ in batches:
        assert calls.acquire(timeout=PATIENCE_S)
    assert worker.batches == batches


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "1"}]}, {"1"}),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, {"1", "2"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"1", "2"}),
        ({"batchItemFailures": [{"itemIdentifer": "1"}]}, {"1", "2"}),
        ({"batchItemFailures": "1"}, {"1", "2"}),
    ],
)
def test_what_an_answer_says_of_failures(answer, failed):
    assert failed_identifiers(answer, ["1", "2"]) == failed


def test_checkpoints_outlive_the_process(tmp_path: Path):
    store = Store(tmp_path / "cloud.sqlite3")
    Checkpoints(store).save("mapping", 7)
    again = Store(tmp_path / "cloud.sqlite3")
    assert (Checkpoints(again).load("mapping"), Checkpoints(again).load("other")) == (7, 0)
    store.close()
    again.close()
