"""Metrics of requests and workers, in the functions' logs, if the setting `metrics` is on.

CloudWatch makes metrics of log lines in the embedded metric format. It charges $0.30 a month for each metric
and each set of dimensions. So there is one dimension, the deployment. Route, error code and worker are
properties of the line, which queries of the log can find.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from murmuration.aws.calls import counting_retries
from murmuration.clock import now_ms
from murmuration.endpoint.routes import Queue, Stream
from murmuration.protocol.encoding.shapes import Answer, LambdaEvent
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.endpoint.shapes import BatchResponse
    from murmuration.protocol.encoding.shapes import JsonObject

    class _Worker(Protocol):
        route: Queue | Stream


NAMESPACE = "Murmuration"
_COUNT = "Count"
_MILLISECONDS = "Milliseconds"
_SENDING = ("/send/", "/state/")


@contextmanager
def request_metrics(event: LambdaEvent) -> Iterator[Answer]:
    """Write the metrics of a request when the block ends. The block sets the proxy response on the yielded
    object.

    They are `Requests`, `ClientErrors` and `ServerErrors`, `Latency`, `SendLatency` for requests that send
    events, and `Retries`: how often a call of AWS, or a write that lost a race, was repeated.
    """
    answer: Answer = {}
    if not settings().metrics:
        yield answer
        return
    started = time.monotonic()
    with ExitStack() as stack:
        retries = stack.enter_context(counting_retries())
        stack.callback(lambda: _write_request(event, answer, time.monotonic() - started, retries.count))
        yield answer


def _write_request(event: LambdaEvent, answer: Answer, seconds: float, retries: int) -> None:
    took = seconds * 1000
    method, resource = str(event.get("httpMethod")), str(event.get("resource"))
    status = int(answer.get("statusCode", 500))
    values = {
        "Requests": (_COUNT, 1.0),
        "ClientErrors": (_COUNT, float(400 <= status < 500)),
        "ServerErrors": (_COUNT, float(status >= 500)),
        "Latency": (_MILLISECONDS, took),
        "Retries": (_COUNT, float(retries)),
    }
    if method == "PUT" and any(part in resource for part in _SENDING):
        values["SendLatency"] = (_MILLISECONDS, took)
    properties = {"route": f"{method} {resource}", "status": status, "errcode": _error_code(answer)}
    _write(values, {name: value for name, value in properties.items() if value})


def worker_metrics(source: str, event: LambdaEvent) -> None:
    """Write how many records a worker received, and how long the oldest of them has waited.

    The metrics are `Records` and `WorkerLag`.
    """
    if not settings().metrics:
        return
    records = event["Records"]
    times = [at for record in records if (at := _written_ms(record)) is not None]
    values = {"Records": (_COUNT, float(len(records)))}
    if times:
        values["WorkerLag"] = (_MILLISECONDS, max(0.0, now_ms() - min(times)))
    _write(values, {"worker": source})


def _worker(route: Queue | Stream) -> str:
    return route.name if isinstance(route, Queue) else route.table


Call = TypeVar("Call", bound=Callable[..., "BatchResponse"])


def with_retries(call: Call) -> Call:
    """Make a worker's `__call__` log `Retries`, the number of repeated attempts, if there were any."""

    @functools.wraps(call)
    def counted(self: _Worker, event: LambdaEvent, context: Any = None) -> BatchResponse:
        if not settings().metrics:
            return call(self, event, context)
        with counting_retries() as retries:
            answer = call(self, event, context)
        if retries.count:
            _write({"Retries": (_COUNT, float(retries.count))}, {"worker": _worker(self.route)})
        return answer

    return cast(Call, counted)


def _written_ms(record: JsonObject) -> float | None:
    """Return the time at which a record of a stream or a queue was written, in milliseconds; None
    if unknown.
    """
    if "dynamodb" in record:
        at = record["dynamodb"].get("ApproximateCreationDateTime")
        return None if at is None else float(at) * 1000
    sent = record.get("attributes", {}).get("SentTimestamp")
    return None if sent is None else float(sent)


def _error_code(answer: JsonObject) -> str | None:
    from murmuration.protocol.bodies import parse_json
    from murmuration.protocol.errors import MatrixError

    if int(answer.get("statusCode", 500)) < 400 or answer.get("isBase64Encoded"):
        return None
    try:
        body = parse_json(str(answer.get("body", "")).encode())
    except MatrixError:
        return None
    return str(body["errcode"]) if isinstance(body, dict) and "errcode" in body else None


def _write(values: Mapping[str, tuple[str, float]], properties: Mapping[str, object]) -> None:
    from aws_lambda_powertools.metrics import EphemeralMetrics

    metrics = EphemeralMetrics(namespace=NAMESPACE, service=settings().prefix)
    for name, (unit, value) in values.items():
        metrics.add_metric(name=name, unit=unit, value=value)
    for name, known in properties.items():
        metrics.add_metadata(key=name, value=known)
    metrics.flush_metrics()
