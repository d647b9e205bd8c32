"""Workers: consumers of DynamoDB Streams and SQS, with partial batch failures, and scheduled functions.

Records arrive at least once, in order within a shard or message group. A function of a stream gets a batch's
new items together. If it fails, they are handled one by one, so that those before the failing one are done
and only the rest comes again. A record that can never be handled goes to the dead letters, with the reason,
and the others are handled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from murmuration.aws.attributes import from_attributes
from murmuration.endpoint.metrics import with_retries, worker_metrics
from murmuration.endpoint.ports import connect_ports
from murmuration.endpoint.routes import Queue, Schedule, Stream

if TYPE_CHECKING:
    from murmuration.aws.queues import QueueRecord
    from murmuration.endpoint.shapes import BatchResponse, StreamRecord
    from murmuration.protocol.encoding.shapes import JsonObject, LambdaEvent


class StreamItem(dict[str, Any]):
    """A new image of an item; `is_new` says that there was no item before."""

    is_new = True


Items = Sequence[StreamItem]
DEAD_LETTERS = "dead-letters"
FRESH = 0.9
"""A worker takes another message only if at least this share of its function's time is left."""
RECORDS_FAULT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors of a record that can never be handled. After any other error the next attempt may succeed."""


class StreamWorker:
    """A Lambda entry point around a function that handles new items of a table."""

    def __init__(self, function: Callable[[Items], None], route: Stream, *, changes: bool = True) -> None:
        self.function = function
        self.route = route
        self.changes = changes
        self.__doc__ = function.__doc__

    @with_retries
    def __call__(self, event: LambdaEvent, context: Any = None) -> BatchResponse:  # noqa: ARG002
        connect_ports()
        worker_metrics(self.route.table, event)
        records = [record for record in event["Records"] if self._concerns(record)]
        if not records:
            return {"batchItemFailures": []}
        try:
            self.function([_item(record) for record in records])
        except Exception:  # noqa: BLE001 - which record it was shows when they come one by one
            return self._one_by_one(records)
        return {"batchItemFailures": []}

    def _concerns(self, record: StreamRecord) -> bool:
        if record["dynamodb"].get("NewImage") is None:
            return False
        return self.changes or record.get("eventName") != "MODIFY"

    def _one_by_one(self, records: Sequence[StreamRecord]) -> BatchResponse:
        for record in records:
            try:
                self.function([_item(record)])
            except RECORDS_FAULT as error:
                _bury(self.route.table, record, error)
            except Exception:  # noqa: BLE001 - Lambda brings it, and what follows, again
                _log_failure(self.route.table, record)
                failed = record["dynamodb"]["SequenceNumber"]
                return {"batchItemFailures": [{"itemIdentifier": failed}]}
        return {"batchItemFailures": []}


def _bury(table: str, record: StreamRecord, error: Exception) -> None:
    from murmuration.aws import queues

    _log_failure(table, record)
    queues.put(
        DEAD_LETTERS,
        {
            "table": table,
            "keys": record["dynamodb"]["Keys"],
            "sequence_number": record["dynamodb"]["SequenceNumber"],
            "error": type(error).__name__,
            "message": str(error)[:1000],
        },
    )


def _log_failure(source: str, record: JsonObject) -> None:
    from murmuration.endpoint.logging import logger

    where = record.get("dynamodb", {}).get("SequenceNumber") or record.get("messageId")
    logger().exception("record failed", extra={"source": source, "record": where})


def _item(record: StreamRecord) -> StreamItem:
    found = StreamItem(from_attributes(record["dynamodb"]["NewImage"] or {}))
    found.is_new = record.get("eventName") == "INSERT"
    return found


def stream_worker(
    table: str, *, batch_size: int = 100, batch_window_s: int = 0, changes: bool = True
) -> Callable[[Callable[[Items], None]], StreamWorker]:
    """Make a function of items the consumer of a table's stream. Deletions are left out.

    Without `changes` it only gets new items, not changes of existing ones. With a window it is called that
    many seconds after the first change.
    """

    def decorate(function: Callable[[Items], None]) -> StreamWorker:
        return StreamWorker(function, Stream(table, batch_size, batch_window_s), changes=changes)

    return decorate


class QueueWorker:
    """A Lambda handler around a function that handles one message, whose body is a JSON object.

    When it is invoked it receives messages from its queue until there are none, and deletes each that was
    handled. A message that failed stays hidden in the queue until its visibility timeout ends; then a sweep
    invokes the worker again. SQS counts the tries and moves a message that fails too often to the dead
    letters.

    While a message of a FIFO queue is hidden, SQS hands out no other message of its group. So no two workers
    handle the same group at once, and the order is kept.
    """

    def __init__(self, function: Callable[[Any], None], route: Queue, *, once: bool = False) -> None:
        self.function = function
        self.route = route
        self.once = once
        self.__doc__ = function.__doc__

    @with_retries
    def __call__(self, event: LambdaEvent, context: Any = None) -> BatchResponse:
        connect_ports()
        if "Records" not in event:
            self._drain(int(event.get("waiting", 0)), context)
            return {"batchItemFailures": []}
        failed = self._take(event["Records"])
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def _drain(self, expected: int, context: Any) -> None:
        """Receive and handle messages until the queue is empty. `expected` is how many were queued, 0 if
        unknown.

        A queue that isn't FIFO has a ring for each message, so a worker may stop once it has taken as many as
        it was rung for. In a FIFO queue more messages may have come for a group that was busy, so the worker
        goes on. A message may take the whole time of a function. So a worker with little time left rings for
        another worker and stops.
        """
        from murmuration.aws import queues

        route, taken = self.route, 0
        time_ms = context.get_remaining_time_in_millis() if context is not None else 0
        while True:
            wait_s = 1 if taken == 0 or taken < expected else 0
            records = queues.receive(route.name, fifo=route.fifo, most=route.batch_size, wait_s=wait_s)
            if not records:
                return
            failed = self._take(records)
            done = [each["receiptHandle"] for each in records if each["messageId"] not in failed]
            queues.delete(route.name, done, fifo=route.fifo)
            taken += len(records)
            if expected and taken >= expected and not route.fifo:
                return
            if context is not None and context.get_remaining_time_in_millis() < time_ms * FRESH:
                queues.ring(route.name, queues.UNKNOWN)
                return

    def _take(self, records: Sequence[QueueRecord]) -> list[str]:
        """Handle messages in order. Return the IDs of those that failed, and of those after them in their
        group."""
        worker_metrics(self.route.name, {"Records": records})
        failed: list[str] = []
        groups: set[str | None] = set()
        done: set[str] = set()
        for record in records:
            group = record["attributes"].get("MessageGroupId")
            if group is not None and group in groups:
                failed.append(record["messageId"])  # keeps the order within the group
                continue
            if self.once and record["body"] in done:
                continue
            try:
                self.function(json.loads(record["body"]))
            except Exception:  # noqa: BLE001 - SQS brings it again, and in the end to the dead letters
                _log_failure(self.route.name, record)
                failed.append(record["messageId"])
                groups.add(group)
            else:
                done.add(record["body"])
        return failed


def queue_worker(
    name: str, *, fifo: bool = True, batch_size: int = 10, once: bool = False, federation: bool = False
) -> Callable[[Callable[[Any], None]], QueueWorker]:
    """Make a function of a message the consumer of a queue. With `once`, equal messages of a batch are passed
    once.

    A queue for `federation` exists only if the server federates.
    """

    def decorate(function: Callable[[Any], None]) -> QueueWorker:
        return QueueWorker(function, Queue(name, fifo, batch_size, federation), once=once)

    return decorate


class ScheduleWorker:
    """A Lambda entry point around a function that is called at a fixed rate."""

    def __init__(self, function: Callable[[], None], route: Schedule) -> None:
        self.function = function
        self.route = route
        self.__doc__ = function.__doc__

    def __call__(self, event: LambdaEvent, context: Any = None) -> None:  # noqa: ARG002
        connect_ports()
        self.function()


def schedule_worker(
    expression: str, *, federation: bool = False
) -> Callable[[Callable[[], None]], ScheduleWorker]:
    """Have a function called at a rate, such as `rate(1 day)`. With `federation`, only if the server
    federates.
    """

    def decorate(function: Callable[[], None]) -> ScheduleWorker:
        return ScheduleWorker(function, Schedule(expression, federation))

    return decorate
