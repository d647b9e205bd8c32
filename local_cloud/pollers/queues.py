"""The event source mapping of an SQS queue to a function, with Lambda's rules.

Messages that a function handled are deleted; the others come back when their visibility timeout ends, as do
all of a batch whose function raised. In a FIFO queue a group's messages are in one invocation at a time.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from local_cloud.aws.sqs import system_attributes
from local_cloud.aws.sqs_queue import Message, Queue
from local_cloud.config import Chaos
from local_cloud.lambdas import Function, FunctionError, Lambdas
from local_cloud.names import REGION, queue_arn
from local_cloud.pollers.batches import deliveries, failed_identifiers

log = logging.getLogger("local_cloud.queues")


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The mapping's settings, named as Lambda names them. Seconds."""

    batch_size: int = 10
    batch_window: float = 0.0
    maximum_concurrency: int = 100


class QueueMapping:
    """One queue, one function; up to `maximum_concurrency` batches at once."""

    def __init__(
        self,
        function: Function,
        queue: Queue,
        settings: QueueSettings,
        lambdas: Lambdas,
        *,
        timeout: float,
        chaos: Chaos = "none",
    ) -> None:
        self._function = function
        self._queue = queue
        self._settings = settings
        self._lambdas = lambdas
        self._timeout = timeout
        self._chaos = chaos
        self._slots = threading.Semaphore(settings.maximum_concurrency)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"queue-{function.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; the queue's closing wakes it."""
        self._stop.set()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._slots.acquire()
            messages = self._queue.receive(self._settings.batch_size, wait=60)
            if messages and self._settings.batch_window and len(messages) < self._settings.batch_size:
                self._stop.wait(self._settings.batch_window)
                messages += self._queue.receive(self._settings.batch_size - len(messages), wait=0)
            if not messages or self._stop.is_set():
                self._slots.release()
                continue
            self._lambdas.submit(lambda batch=messages: self._handle(batch))  # type: ignore[misc]

    def _handle(self, messages: Sequence[Message]) -> None:
        try:
            for piece in deliveries(messages, self._chaos):
                self._deliver(piece)
        except FunctionError:
            return  # each message comes back when its visibility timeout ends
        finally:
            self._slots.release()

    def _deliver(self, messages: Sequence[Message]) -> None:
        event = {"Records": [queue_record(message, self._queue.name) for message in messages]}
        answer = self._lambdas.invoke(self._function, event, self._timeout)
        failed = failed_identifiers(answer, [message.id for message in messages])
        for message in messages:
            if message.id not in failed:
                self._queue.delete(message.receipt)


def queue_record(message: Message, queue: str) -> dict[str, Any]:
    """A message as Lambda hands it to a function."""
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": system_attributes(message),
        "messageAttributes": {name: _attribute(value) for name, value in message.attributes.items()},
        "md5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn(queue),
        "awsRegion": REGION,
    }


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    import base64

    found: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        found["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        found["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return found
