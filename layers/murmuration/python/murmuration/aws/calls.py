"""Calls of DynamoDB, SQS, SSM and Lambda: signed POST requests with JSON bodies.

`wire` makes the call inside a function and if AWS_ENDPOINT_URL_<SERVICE> is set: botocore would take four
times the CPU for a call, and most of a cold start. Elsewhere (operators' commands, with profiles and proxies)
botocore makes it.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from random import uniform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from murmuration.aws.wire import Wire

ATTEMPTS = 4
SECRET_ATTEMPTS = 8
"""SSM answers about forty requests a second in total, and more functions than that may start at once."""
FIRST_PAUSE_S = 0.05
THROTTLED = frozenset(
    (
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    )
)
"""Error codes after which a retry may succeed. Every status of 500 and above is retried too."""

Parameters = dict[str, Any]
"""The members of a request, named as in the service's API."""
Answer = dict[str, Any]
"""A service's answer, named as in its API."""


class ServiceError(Exception):
    """A service's error: its code, such as `ResourceNotFoundException`, and its whole answer."""

    def __init__(self, code: str, answer: Answer, status: int = 400) -> None:
        super().__init__(f"{code}: {answer.get('message') or answer.get('Message') or 'no message'}")
        self.code = code
        self.answer = answer
        self.status = status


class Unreachable(ServiceError):
    """No valid answer came, after all retries."""

    def __init__(self, reason: object) -> None:
        super().__init__("Unreachable", {"message": str(reason)}, 503)


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a service, named as in its API: `dynamodb`, `GetItem`, and the request's members."""

    service: str
    operation: str
    parameters: Parameters


Proceed = Callable[[Call], Answer]
Interceptor = Callable[[Call, Proceed], Answer]
"""A function that each call passes through. It may change the call, answer it, change its answer, or raise
ServiceError."""

_interceptors: tuple[Interceptor, ...] = ()


def intercept(interceptor: Interceptor, *, first: bool = False) -> None:
    """Make all calls from now on pass through `interceptor`, after the interceptors that were set before.

    With `first` it comes before them, so it also sees calls that one of them answers itself.
    """
    global _interceptors
    _interceptors = (interceptor, *_interceptors) if first else (*_interceptors, interceptor)


def release(interceptor: Interceptor) -> None:
    """Remove an interceptor that `intercept` added."""
    global _interceptors
    _interceptors = tuple(each for each in _interceptors if each != interceptor)


# -- What calls consume ----------------------------------------------------------------------------------

READS = frozenset(("GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"))
WRITES = frozenset(("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"))


class Usage:
    """What calls consumed: capacity units, requests to SQS and S3, bytes written to S3.

    Threads that work for the same request share one instance.
    """

    __slots__ = (
        "_lock", "object_bytes", "object_puts", "object_reads", "queue_requests", "read_units", "write_units",
    )  # fmt: skip

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.read_units = 0.0
        self.write_units = 0.0
        self.queue_requests = 0
        self.object_puts = 0
        self.object_reads = 0
        self.object_bytes = 0

    def add(self, asked: Call, answer: Answer) -> None:
        """Count an answered call, by the consumption in DynamoDB's answer."""
        if asked.service == "sqs":
            self._count(0, 0, 1)
            return
        consumed = answer.get("ConsumedCapacity") or ()
        tables = [consumed] if isinstance(consumed, Mapping) else consumed
        units = sum(float(table["CapacityUnits"]) for table in tables)
        if asked.operation in WRITES:
            self._count(0, units, 0)
        else:
            self._count(units, 0, 0)

    def add_refused(self, asked: Call) -> None:
        """Count a refused call: DynamoDB charges a refused write like the write itself.

        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
        """
        if asked.operation in WRITES:
            each = 2 if asked.operation == "TransactWriteItems" else 1
            self._count(0, each * -(-len(json.dumps(asked.parameters, default=repr)) // 1024), 0)

    def add_object(self, put_bytes: int | None) -> None:
        """Count an object that was read, or, with `put_bytes`, one of this size that was written."""
        with self._lock:
            self.object_reads += put_bytes is None
            self.object_puts += put_bytes is not None
            self.object_bytes += put_bytes or 0

    def _count(self, reads: float, writes: float, queue_requests: int) -> None:
        with self._lock:
            self.read_units += reads
            self.write_units += writes
            self.queue_requests += queue_requests


_usage: ContextVar[Usage | None] = ContextVar("usage", default=None)


@contextmanager
def counting(usage: Usage) -> Iterator[None]:
    """Count in `usage` the calls that this context makes within the block."""
    token = _usage.set(usage)
    try:
        yield
    finally:
        _usage.reset(token)


def count_object(put_bytes: int | None = None) -> None:
    """Count an object that is read or, with `put_bytes`, written, if this context counts its calls."""
    usage = _usage.get()
    if usage is not None:
        usage.add_object(put_bytes)


class Retries:
    """Counts retries: repeated calls of AWS, and writes that lost a race."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def add(self) -> None:
        with self._lock:
            self.count += 1


_retries: ContextVar[Retries | None] = ContextVar("retries", default=None)


@contextmanager
def counting_retries() -> Iterator[Retries]:
    """Count the retries of this context within the block."""
    token = _retries.set(retries := Retries())
    try:
        yield retries
    finally:
        _retries.reset(token)


def note_retry() -> None:
    """Add a retry to the count, if retries are counted in this context."""
    if (retries := _retries.get()) is not None:
        retries.add()


# -- Calling ---------------------------------------------------------------------------------------------


def call(service: str, operation: str, parameters: Parameters) -> Answer:
    """Make a call and return the answer, retrying where a retry may help. Raises ServiceError.

    Bytes in `parameters` are passed as bytes, and come back as Base64.
    """
    if operation == "TransactWriteItems":
        # With the token, DynamoDB treats a retry as the same transaction.
        parameters.setdefault("ClientRequestToken", os.urandom(16).hex())
    asked = Call(service, operation, parameters)
    usage = _usage.get()
    if usage is None:
        return _pass(_interceptors, asked) if _interceptors else _send(asked)
    if operation in READS or operation in WRITES:
        parameters.setdefault("ReturnConsumedCapacity", "TOTAL")
    try:
        answer = _pass(_interceptors, asked)
    except ServiceError:
        usage.add_refused(asked)
        raise
    usage.add(asked, answer)
    return answer


def _pass(interceptors: tuple[Interceptor, ...], asked: Call) -> Answer:
    if not interceptors:
        return _send(asked)
    return interceptors[0](asked, functools.partial(_pass, interceptors[1:]))


def _send(asked: Call) -> Answer:
    wire = _wire(asked.service)
    if wire is None:
        return _send_by_botocore(asked)
    attempts = SECRET_ATTEMPTS if asked.service == "ssm" else ATTEMPTS
    attempt = 1
    while True:
        try:
            return wire.post(asked.operation, asked.parameters)
        except ServiceError as error:
            if attempt == attempts or not (error.status >= 500 or error.code in THROTTLED):
                raise
        note_retry()
        time.sleep(uniform(0, FIRST_PAUSE_S * 2**attempt))
        attempt += 1


@functools.cache
def _wire(service: str) -> Wire | None:
    given = os.environ
    endpoint = given.get(f"AWS_ENDPOINT_URL_{service.upper()}") or given.get("AWS_ENDPOINT_URL")
    if endpoint is None and "AWS_LAMBDA_FUNCTION_NAME" not in given:
        return None
    from murmuration.aws.wire import Wire

    region = given.get("AWS_REGION") or given["AWS_DEFAULT_REGION"]
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return Wire(service, region, endpoint or f"https://{service}.{region}.{domain}")


def forget() -> None:
    """Forget the services' endpoints, because the environment has changed."""
    _wire.cache_clear()
    _client.cache_clear()


# -- By botocore -----------------------------------------------------------------------------------------


@functools.cache
def _client(service: str) -> Any:
    from murmuration.aws.clients import make_client

    return make_client(service)


def _send_by_botocore(asked: Call) -> Answer:
    from botocore import xform_name
    from botocore.exceptions import ClientError

    try:
        answer: Answer = getattr(_client(asked.service), xform_name(asked.operation))(**asked.parameters)
    except ClientError as error:
        said = error.response["Error"]
        code = said.get("QueryErrorCode") or said["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise ServiceError(code, {"message": said.get("Message"), **error.response}, status) from error
    return answer
