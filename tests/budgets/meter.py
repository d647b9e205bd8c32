"""Count the requests of a piece of work to DynamoDB: serial round trips and capacity units.

ReturnConsumedCapacity makes DynamoDB return the price of each request. Requests that overlap in time count as
one round trip. Each request is delayed for a moment, as the real service's distance would do, so that
parallel requests do overlap. Where dynoxide reports less than AWS documents, the difference is added: for
GetItem with a projection, and for the indexes of what a transaction writes.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from murmuration.aws import calls
from murmuration.aws.calls import Answer, Call, Proceed, ServiceError

LATENCY_S = 0.03
READS = frozenset(("GetItem", "BatchGetItem", "Query", "Scan"))


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

    def outside(self, start_s: float, end_s: float) -> Spent:
        """Return the same without what began within a time."""
        return Spent(tuple(one for one in self.requests if not start_s <= one.start <= end_s))

    def __str__(self) -> str:
        steps = ", ".join(f"{one.operation} {one.read_units + one.write_units:g}" for one in self.requests)
        return f"{self.round_trips} trips, {self.read_units:g} read, {self.write_units:g} write: {steps}"


def serial(requests: Iterable[Request]) -> int:
    """Return the number of serial round trips: the size of the largest set of requests that don't overlap."""
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

    @property
    def spent(self) -> Spent:
        return Spent(tuple(sorted(self._requests, key=lambda request: request.start)))

    def __enter__(self) -> Meter:
        calls.intercept(self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        calls.release(self._count)

    def _count(self, call: Call, proceed: Proceed) -> Answer:
        if call.service != "dynamodb":
            return proceed(call)
        call.parameters["ReturnConsumedCapacity"] = "INDEXES"
        start = time.monotonic()
        time.sleep(LATENCY_S)
        try:
            answer = proceed(call)
        except ServiceError as error:
            raise AssertionError(f"{call.operation} failed while it was counted") from error
        end = time.monotonic()
        reported = answer["ConsumedCapacity"]
        capacities = reported if isinstance(reported, list) else [reported]
        units = sum(capacity["CapacityUnits"] for capacity in capacities)
        if call.operation == "TransactWriteItems":
            units += sum(_index_units(capacity) for capacity in capacities)
        if call.operation == "GetItem" and "ProjectionExpression" in call.parameters:
            units = _whole_item(call, proceed)
        read = call.operation in READS
        with self._lock:
            self._requests.append(
                Request(call.operation, start, end, units if read else 0, 0 if read else units)
            )
        return answer


def _whole_item(call: Call, proceed: Proceed) -> float:
    """Return the price of a GetItem's item without its projection."""
    unused = ("ProjectionExpression", "ExpressionAttributeNames")
    parameters = {name: value for name, value in call.parameters.items() if name not in unused}
    return float(proceed(replace(call, parameters=parameters))["ConsumedCapacity"]["CapacityUnits"])


def _index_units(capacity: Mapping[str, Any]) -> float:
    indexes = capacity.get("LocalSecondaryIndexes", {})
    return sum(float(index["CapacityUnits"]) for index in indexes.values())
