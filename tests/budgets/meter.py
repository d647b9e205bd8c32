"""Counts what a piece of work asks of DynamoDB: serial round trips and capacity units.

The botocore client's own events tell of each request, and ReturnConsumedCapacity of its price. Requests that
overlap in time count as one round trip: each is held for a moment, as the real service's distance would, so
that those made at once do overlap. Where dynoxide reports less than AWS documents, the difference is added:
for GetItem with a projection, and for the indexes of what a transaction writes.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from murmuration.storage import dynamodb

LATENCY_S = 0.03
READS = frozenset(("GetItem", "BatchGetItem", "Query", "Scan"))
EVENTS = ("provide-client-params", "before-call", "after-call", "after-call-error")


@dataclass(frozen=True, slots=True)
class Request:
    """One request: when it went out and was answered, and its price in capacity units."""

    operation: str
    start: float
    end: float
    read_units: float = 0
    write_units: float = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What was asked for, all in all."""

    requests: tuple[Request, ...]

    @property
    def round_trips(self) -> int:
        return serial(self.requests)

    @property
    def read_units(self) -> float:
        return sum(request.read_units for request in self.requests)

    @property
    def write_units(self) -> float:
        return sum(request.write_units for request in self.requests)

    def __str__(self) -> str:
        steps = ", ".join(f"{one.operation} {one.read_units + one.write_units:g}" for one in self.requests)
        return f"{self.round_trips} trips, {self.read_units:g} read, {self.write_units:g} write: {steps}"


def serial(requests: Iterable[Request]) -> int:
    """How many of the requests went out one after the other: the most of which no two overlap."""
    count, last = 0, float("-inf")
    for request in sorted(requests, key=lambda request: request.end):
        if request.start >= last:
            count, last = count + 1, request.end
    return count


class Meter:
    """Counts the requests of all threads while it's entered; `spent` has them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._local = threading.local()
        self._handlers = dict(
            zip(EVENTS, (self._ask_for_price, self._begin, self._end, self._fail), strict=True)
        )

    @property
    def spent(self) -> Spent:
        return Spent(tuple(sorted(self._requests, key=lambda request: request.start)))

    def __enter__(self) -> Meter:
        for event, handler in self._handlers.items():
            dynamodb.client().meta.events.register(f"{event}.dynamodb.*", handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for event, handler in self._handlers.items():
            dynamodb.client().meta.events.unregister(f"{event}.dynamodb.*", handler)

    def _ask_for_price(self, params: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        return {**params, "ReturnConsumedCapacity": "INDEXES"}

    def _begin(self, params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        if not getattr(self._local, "aside", False):
            context["metered"] = (time.monotonic(), params["body"])
            time.sleep(LATENCY_S)

    def _end(self, parsed: Mapping[str, Any], model: Any, context: Mapping[str, Any], **_: Any) -> None:
        if "metered" not in context:
            return
        (start, body), end = context["metered"], time.monotonic()
        if "ConsumedCapacity" not in parsed:
            raise AssertionError(f"{model.name} failed while it was counted: {parsed.get('Error')}")
        reported = parsed["ConsumedCapacity"]
        capacities = reported if isinstance(reported, list) else [reported]
        units = sum(capacity["CapacityUnits"] for capacity in capacities)
        if model.name == "TransactWriteItems":
            units += sum(_index_units(capacity) for capacity in capacities)
        if model.name == "GetItem" and b"ProjectionExpression" in body:
            units = self._whole_item(body)
        read = model.name in READS
        with self._lock:
            self._requests.append(Request(model.name, start, end, units if read else 0, 0 if read else units))

    def _whole_item(self, body: bytes) -> float:
        """The price of a GetItem's item without its projection."""
        import json

        asked = json.loads(body)
        parameters = {name: asked[name] for name in ("TableName", "Key", "ConsistentRead") if name in asked}
        self._local.aside = True
        try:
            found = dynamodb.client().get_item(**parameters)
        finally:
            self._local.aside = False
        return float(found["ConsumedCapacity"]["CapacityUnits"])

    def _fail(self, exception: Exception, **_: Any) -> None:
        raise AssertionError("a request failed while it was counted") from exception


def _index_units(capacity: Mapping[str, Any]) -> float:
    indexes = capacity.get("LocalSecondaryIndexes", {})
    return sum(float(index["CapacityUnits"]) for index in indexes.values())
