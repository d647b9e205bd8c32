"""Counts everything that a local server uses and AWS would bill. The data folder gets the counts at the end.

Invocations and DynamoDB's units are those of AWS. Durations are those of this machine, without cold starts.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from botocore import handlers

from local_cloud.aws.patch import WRITES
from local_cloud.config import Api
from murmuration.aws import calls
from murmuration.aws.calls import Answer, Call, Proceed, ServiceError

MEMORY_GB = 0.5
READS = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})
PUTS = frozenset({"PutObject", "CopyObject", "ListObjectsV2", "CreateMultipartUpload", "UploadPart"})


class Meter:
    """The counts of one run, by the names in `prices.PRICES`. `api` is the kind of API in front of
    functions.
    """

    def __init__(self, api: Api = "http") -> None:
        self._requests = f"{api}_requests"
        self._counts: defaultdict[str, float] = defaultdict(float)
        self._refused = 0
        self._parked = 0
        self._queues_made = 0
        self._invocations: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._started = time.monotonic()

    def add(self, name: str, units: float = 1) -> None:
        with self._lock:
            self._counts[name] += units

    def request(self, *, preflight: bool = False) -> None:
        """Count a request that reached the edge. The edge itself answers a browser's preflight."""
        for name in ("cloudfront_requests", "cloudfront_functions"):
            self.add(name)
        if not preflight:
            self.add(self._requests)

    def wait(self) -> None:
        """Count a request that waits on a queue in a REST API. It is counted as a request too."""
        self._wait_on_a_queue()
        self.add("rest_requests")

    def wait_at_edge(self) -> None:
        """Count a request that waits on a queue without API Gateway; a second CloudFront function makes its
        answer.
        """
        self._wait_on_a_queue()
        self.add("cloudfront_functions")

    def _wait_on_a_queue(self) -> None:
        self.add(self._requests, -1)
        self.add("sqs_requests")
        with self._lock:
            self._parked += 1

    def call_queue(self, operation: str) -> None:
        """Count a call of SQS. Calls that create queues are also counted separately."""
        self.add("sqs_requests")
        with self._lock:
            self._queues_made += operation == "CreateQueue"

    def invocation(self, function: str, seconds: float) -> None:
        """Count a function's run of `seconds`."""
        self.add("lambda_requests")
        self.add("lambda_gb_seconds", seconds * MEMORY_GB)
        with self._lock:
            self._invocations[function] += 1

    def snapshot(self) -> dict[str, float]:
        """Return the counts so far, by the prices' names.

        In addition they have `parked`, `queues_made`, and the invocations by function.
        """
        with self._lock:
            functions = {f"invoked {name}": float(count) for name, count in self._invocations.items()}
            apart = {"parked": self._parked, "queues_made": self._queues_made}
            return {**self._counts, **apart, **functions}

    def refuse(self) -> None:
        """Count a transaction that DynamoDB refused because another one was quicker; it will be tried
        again.
        """
        with self._lock:
            self._refused += 1

    def save(self, path: Path) -> None:
        """Write the counts, and how many seconds they took, to `path`."""
        with self._lock:
            found = {
                "seconds": time.monotonic() - self._started,
                "counts": dict(self._counts),
                "refused_transactions": self._refused,
            }
        path.write_text(json.dumps(found, indent=1))


def load(path: Path) -> tuple[dict[str, float], float]:
    """Return the counts and seconds that `save` wrote."""
    found = json.loads(path.read_text())
    return found["counts"], found["seconds"]


def load_refused(path: Path) -> int:
    """Return how many transactions DynamoDB refused, according to what `save` has written."""
    return int(json.loads(path.read_text())["refused_transactions"])


# -- Calls of AWS's services -----------------------------------------------------------------------------

_current: Meter | None = None
_installed = False


def install(meter: Meter) -> None:
    """Count the calls of DynamoDB and SQS, and those of the botocore clients that are made from now on."""
    global _current, _installed
    _current = meter
    if not _installed:
        _installed = True
        calls.intercept(_count_call)
        handlers.BUILTIN_HANDLERS.append(("provide-client-params.s3", _count_object))
        handlers.BUILTIN_HANDLERS.append(
            ("provide-client-params.apigatewaymanagementapi.PostToConnection", _count_post)
        )


def uninstall(meter: Meter) -> None:
    global _current
    if _current is meter:
        _current = None


def _count_call(call: Call, proceed: Proceed) -> Answer:
    meter = _current
    if meter is not None and call.service == "sqs":
        meter.call_queue(call.operation)
    if meter is None or call.service != "dynamodb":
        return proceed(call)
    if call.operation in READS | WRITES:
        call.parameters["ReturnConsumedCapacity"] = "INDEXES"
    try:
        answer = proceed(call)
    except ServiceError as error:
        if error.code == "TransactionCanceledException":
            meter.refuse()
        raise
    consumed = answer.get("ConsumedCapacity", [])
    tables = consumed if isinstance(consumed, list) else [consumed]
    name = "dynamodb_writes" if call.operation in WRITES else "dynamodb_reads"
    units = sum(table["CapacityUnits"] for table in tables)
    if call.operation == "TransactWriteItems":  # dynoxide doesn't report the units of indexes
        indexes = [table.get("LocalSecondaryIndexes", {}) for table in tables]
        units += sum(index["CapacityUnits"] for found in indexes for index in found.values())
    meter.add(name, units)
    return answer


def _count_object(model: Any, **_: Any) -> None:
    if _current is not None:
        _current.add("s3_puts" if model.name in PUTS else "s3_gets")


def _count_post(**_: Any) -> None:
    if _current is not None:
        _current.add("socket_messages")
