"""The event source mapping of a DynamoDB stream to a function, with Lambda's rules.

A batch that fails is tried again: split in halves if the function raised, or from the first failed record if
it reported a partial failure. Records before a failure are done and not delivered again. A record that keeps
failing blocks its stream until its retries are used up or it is a day old; then it goes to the failure queue,
if there is one, and the stream continues. Positions survive restarts, so a record is delivered at least once.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from local_cloud.config import Chaos
from local_cloud.lambdas import Function, FunctionError, Lambdas
from local_cloud.pollers.batches import deliveries, failed_identifiers
from local_cloud.pollers.checkpoints import Checkpoints
from local_cloud.pollers.stream_source import KEPT_SECONDS, Changes, Record

log = logging.getLogger("local_cloud.streams")


class Reader(Protocol):
    """The interface from which a mapping reads records."""

    def read(self, after: int, limit: int) -> list[Record]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The mapping's settings, by Lambda's names, in seconds; -1 retries: until the record is too old."""

    batch_size: int = 100
    batch_window: float = 0.0
    maximum_retry_attempts: int = -1
    maximum_record_age: float = KEPT_SECONDS
    bisect_batch_on_function_error: bool = True
    first_backoff: float = 0.05
    longest_backoff: float = 5.0


class StreamMapping:
    """The mapping of one stream to one function, in one thread, which takes the records in order."""

    def __init__(
        self,
        function: Function,
        settings: StreamSettings,
        open_reader: Callable[[], Reader],
        changes: Changes,
        checkpoints: Checkpoints,
        lambdas: Lambdas,
        *,
        timeout: float,
        chaos: Chaos = "none",
        on_failure: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.name = function.name
        self._function = function
        self._settings = settings
        self._open_reader = open_reader
        self._changes = changes
        self._checkpoints = checkpoints
        self._lambdas = lambdas
        self._timeout = timeout
        self._chaos = chaos
        self._on_failure = on_failure
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"stream-{function.name}", daemon=True)
        self._position = 0

    def start(self) -> None:
        self._position = self._checkpoints.load(self.name)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. Call this before the changes are closed."""
        self._stop.set()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    @property
    def position(self) -> int:
        """The position up to which all records are done."""
        return self._position

    def _run(self) -> None:
        reader = self._open_reader()
        seen = -1
        try:
            while not self._stop.is_set():
                records = reader.read(self._position, self._settings.batch_size)
                if not records:
                    seen = self._changes.wait(seen, 60)
                    records = reader.read(self._position, self._settings.batch_size)
                if records:
                    records = self._gather(reader, records)
                    self._process(records)
        finally:
            reader.close()

    def _gather(self, reader: Reader, records: list[Record]) -> list[Record]:
        """Wait until the batch window ends, if the batch isn't full, and return the batch."""
        if not self._settings.batch_window or len(records) >= self._settings.batch_size:
            return records
        self._stop.wait(self._settings.batch_window)
        return reader.read(self._position, self._settings.batch_size)

    def _process(self, records: Sequence[Record], attempt: int = 0) -> None:
        """Deliver `records`, in order, until all are done or dropped. Moves the checkpoint with each step."""
        backoff = self._settings.first_backoff
        while records and not self._stop.is_set():
            done, raised = self._deliver(records)
            if done:
                self._checkpoint(records[done - 1].position)
                records = records[done:]
            if not records:
                return
            if raised and len(records) > 1 and self._settings.bisect_batch_on_function_error:
                middle = (len(records) + 1) // 2
                self._process(records[:middle], attempt)  # halving doesn't count as an attempt
                records = records[middle:]
                continue
            attempt += 1
            if self._exhausted(records, attempt):
                self._give_up(records, attempt)
                return
            self._stop.wait(backoff)
            backoff = min(backoff * 2, self._settings.longest_backoff)

    def _deliver(self, records: Sequence[Record]) -> tuple[int, bool]:
        """Invoke the function. Returns how many records from the start are done, and whether it raised."""
        done = len(records)
        for piece in deliveries(records, self._chaos):
            numbers = [record.event["dynamodb"]["SequenceNumber"] for record in piece]
            event = {"Records": [record.event for record in piece]}
            try:
                answer = self._lambdas.invoke(self._function, event, self._timeout)
            except FunctionError:
                return min(done, records.index(piece[0])), True
            if failed := failed_identifiers(answer, numbers):
                first = next(
                    record for record in piece if record.event["dynamodb"]["SequenceNumber"] in failed
                )
                return min(done, records.index(first)), False
        return done, False

    def _checkpoint(self, position: int) -> None:
        self._position = position
        self._checkpoints.save(self.name, position)

    def _exhausted(self, records: Sequence[Record], attempt: int) -> bool:
        created = records[0].event["dynamodb"]["ApproximateCreationDateTime"]
        if time.time() - created > self._settings.maximum_record_age:
            return True
        return 0 <= self._settings.maximum_retry_attempts < attempt

    def _give_up(self, records: Sequence[Record], attempts: int) -> None:
        first, last = records[0].event, records[-1].event
        log.error("function %s: gave up on %d records after %d attempts", self.name, len(records), attempts)
        if self._on_failure is not None:
            self._on_failure(
                {
                    "requestContext": {
                        "functionArn": self.name,
                        "condition": "RetryAttemptsExhausted",
                        "approximateInvokeCount": attempts,
                    },
                    "version": "1.0",
                    "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "DDBStreamBatchInfo": {
                        "shardId": "shardId-00000000000000000000-00000000",
                        "startSequenceNumber": first["dynamodb"]["SequenceNumber"],
                        "endSequenceNumber": last["dynamodb"]["SequenceNumber"],
                        "batchSize": len(records),
                        "streamArn": first["eventSourceARN"],
                    },
                }
            )
        self._checkpoint(records[-1].position)


def failure_message(failure: dict[str, Any]) -> str:
    """Return the body of the message for the failure queue."""
    return json.dumps(failure, separators=(",", ":"))
