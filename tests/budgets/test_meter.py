"""The meter's prices are those that AWS documents, and overlapping requests are one round trip.

Reads: 1 unit for each 4 KB of an item, half of it when eventually consistent, rounded up for each item, or
for all that a query goes through. Writes: 1 unit for each KB of the larger of the old and the new item, twice
in a transaction, and again for each entry of an index that comes or goes.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import concurrency, dynamodb
from tests.budgets.meter import Meter, Request, Spent, serial

_numbers = itertools.count(1)


@pytest.fixture
def name(deployment: None) -> str:
    """Return a key that no other test uses."""
    return f"meter-{next(_numbers)}"


def item(name: str, size: int, **more: Any) -> dict[str, Any]:
    """Return an item of the table `transient` with about `size` bytes."""
    return {"id": name, "filling": "x" * (size - 20 - len(name)), **more}


def entry(name: str, seq: int | None, size: int = 100, sk: str = "a") -> dict[str, Any]:
    """Return an item of the table `streams`, which has an index of what has a `seq`."""
    found = {"stream_id": name, "sk": sk, "filling": "x" * (size - 40 - len(name))}
    return found if seq is None else {**found, "seq": seq}


def price(work: Callable[[], Any]) -> tuple[float, float]:
    with Meter() as meter:
        work()
    return meter.spent.read_units, meter.spent.write_units


@pytest.mark.parametrize(
    ("size", "consistent", "units"), [(900, True, 1), (900, False, 0.5), (9000, True, 3), (9000, False, 1.5)]
)
@pytest.mark.parametrize("attributes", [(), ("id",)])
def test_a_get(name: str, size: int, consistent: bool, units: float, attributes: tuple[str, ...]) -> None:
    dynamodb.execute(dynamodb.put("transient", item(name, size)))
    get = functools.partial(
        dynamodb.get, "transient", {"id": name}, consistent=consistent, attributes=attributes
    )
    assert price(get) == (units, 0)


def test_a_get_of_nothing(name: str) -> None:
    assert price(lambda: dynamodb.get("transient", {"id": name})) == (1, 0)
    assert price(lambda: dynamodb.get("transient", {"id": name}, consistent=False)) == (0.5, 0)


def test_a_batch_get_rounds_each_item(name: str) -> None:
    dynamodb.execute(dynamodb.put("transient", item(name, 5000)))
    keys = {"transient": [{"id": name}, {"id": f"{name}-missing"}], "media": [{"media_id": name}]}
    assert price(lambda: dynamodb.batch_get(keys, eventual=["media"])) == (2 + 1 + 0.5, 0)


def test_a_query_rounds_what_it_went_through(name: str) -> None:
    dynamodb.batch_write([dynamodb.put("streams", entry(name, n, 1500, f"a{n}")) for n in range(5)])
    arguments = ("streams", "stream_id = :name", {":name": name})
    assert price(lambda: dynamodb.query(*arguments)) == (2, 0)
    assert price(lambda: dynamodb.query(*arguments, consistent=False)) == (1, 0)
    assert price(lambda: dynamodb.query(*arguments, index="by-seq")) == (2, 0)
    assert price(lambda: dynamodb.query(*arguments, attributes=("sk",))) == (2, 0)
    assert price(lambda: dynamodb.query(*arguments, limit=2)) == (1, 0)
    assert price(lambda: dynamodb.query("streams", "stream_id = :name", {":name": "none"})) == (1, 0)


def test_a_write_costs_the_larger_of_the_old_and_the_new(name: str) -> None:
    def put(size: int) -> Callable[[], Any]:
        return lambda: dynamodb.execute(dynamodb.put("transient", item(name, size)))

    assert price(put(900)) == (0, 1)
    assert price(put(3000)) == (0, 3)
    assert price(put(900)) == (0, 3)
    longer = dynamodb.update("transient", {"id": name}, "SET more = :m", values={":m": "x" * 1000})
    assert price(lambda: dynamodb.execute(longer)) == (0, 2)
    assert price(lambda: dynamodb.execute(dynamodb.delete("transient", {"id": name}))) == (0, 2)
    assert price(lambda: dynamodb.execute(dynamodb.delete("transient", {"id": name}))) == (0, 1)


def test_a_transaction_costs_twice(name: str) -> None:
    dynamodb.execute(dynamodb.put("transient", item(f"{name}-old", 3000)))
    writes = [
        dynamodb.put("transient", item(name, 1500)),
        dynamodb.delete("transient", {"id": f"{name}-old"}),
        dynamodb.check("transient", {"id": f"{name}-none"}, "attribute_not_exists(id)"),
    ]
    assert price(lambda: dynamodb.transact(writes)) == (0, 2 * (2 + 3 + 1))


def test_an_index_costs_what_comes_and_what_goes(name: str) -> None:
    def put(seq: int | None) -> Callable[[], Any]:
        return lambda: dynamodb.execute(dynamodb.put("streams", entry(name, seq)))

    assert price(put(None)) == (0, 1)
    assert price(put(1)) == (0, 1 + 1)
    assert price(put(2)) == (0, 1 + 2)
    assert price(lambda: dynamodb.transact([dynamodb.put("streams", entry(name, 3))])) == (0, 2 * (1 + 2))


def test_what_goes_out_at_once_is_one_round_trip(name: str) -> None:
    get = functools.partial(dynamodb.get, "transient", {"id": name})
    with Meter() as meter:
        concurrency.parallel(get, get, get)
        get()
    assert (meter.spent.round_trips, len(meter.spent.requests)) == (2, 4)
    with Meter() as meter:
        dynamodb.batch_write([dynamodb.put("transient", item(f"{name}-{n}", 100)) for n in range(26)])
    assert (meter.spent.round_trips, meter.spent.write_units) == (1, 26)


@pytest.mark.parametrize(
    ("spans", "trips"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (1, 2)], 2),
        ([(0, 3), (1, 2)], 1),
        ([(0, 3), (0, 1), (2, 3)], 2),
        ([(0, 9), (1, 2), (3, 4), (5, 6)], 3),
    ],
)
def test_serial_round_trips(spans: list[tuple[float, float]], trips: int) -> None:
    requests = [Request("GetItem", *span) for span in spans]
    assert serial(requests) == Spent(tuple(requests)).round_trips == trips


def test_failures_are_not_passed_over(name: str) -> None:
    refused = dynamodb.put("transient", item(name, 100), condition="attribute_exists(id)")
    with Meter(), pytest.raises(AssertionError, match="failed while it was counted"):
        dynamodb.execute(refused)
