"""DynamoDB with plain Python items: dicts of str, int, bytes, bool, None, list and dict.

Tables have logical names. Each function makes one request unless its docstring says otherwise; `parallel`
runs several at the same time.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack

from murmuration.aws.attributes import Item, StoredItem, WireItem, from_attributes, serialize, to_attributes
from murmuration.aws.calls import Answer, Parameters, ServiceError, call, note_retry
from murmuration.aws.concurrency import parallel
from murmuration.protocol.errors import Unavailable
from murmuration.settings import settings

__all__ = ["Item", "StoredItem"]  # names of `attributes` that all readers and writers need
Storable: TypeAlias = "str | int | bytes | Sequence[Storable] | Mapping[str, Storable] | Set[str] | None"
"""The types that a value of an item may have. Floating-point numbers aren't supported."""
Key: TypeAlias = "Mapping[str, Storable]"
Attributes: TypeAlias = "Mapping[str, Storable]"
Values: TypeAlias = "Mapping[str, Storable]"
"""The values of an expression's placeholders, by name such as `:user`."""
T = TypeVar("T")

BATCH_GET_LIMIT = 100
BATCH_WRITE_LIMIT = 25
TRANSACTION_LIMIT = 100
CONTENDED_ATTEMPTS = 6
"""How often a write is tried if it conflicts with other transactions."""
CONTENDED_PAUSE_S = 0.02


class ConditionFailed(Exception):
    """A write's condition did not hold; nothing was written.

    `names` are the names of the writes whose own condition failed; a write without a name counts as "". It is
    empty after contention with other transactions, if `patient=False` was passed.
    """

    def __init__(self, refusals: Mapping[str, Item | None] | None = None) -> None:
        self._refusals = dict(refusals or {})
        self.names = frozenset(self._refusals)
        super().__init__(f"condition failed: {sorted(self.names)}" if self.names else "contention")

    def refused(self, name: str) -> bool:
        """Return whether the write with this name was refused."""
        return name in self.names

    def item(self, name: str = "") -> Item | None:
        """Return the item that exists instead, if the write with this name asked for it (`return_old`)."""
        return self._refusals.get(name)

    def named(self) -> ConditionFailed:
        """Return a copy that has only the refusals of writes with names."""
        return ConditionFailed({name: item for name, item in self._refusals.items() if name})


@functools.cache
def client() -> Any:
    """Return the botocore client for creating and describing tables, which no function does."""
    from murmuration.aws.clients import make_client

    return make_client("dynamodb")


# -- Reading ---------------------------------------------------------------------------------------------


def get(table: str, key: Key, *, consistent: bool = True, attributes: Sequence[str] = ()) -> Item | None:
    """Return the item with `key`; None if there is none."""
    parameters: Parameters = {
        "TableName": settings().table(table),
        "Key": to_attributes(key),
        "ConsistentRead": consistent,
    }
    if attributes:
        parameters.update(_projection(attributes))
    found = call("dynamodb", "GetItem", parameters).get("Item")
    return from_attributes(found) if found is not None else None


def batch_get(keys: Mapping[str, Sequence[Key]], *, eventual: Sequence[str] = ()) -> dict[str, list[Item]]:
    """Return the existing items among `keys` (by table), in no particular order.

    Tables in `eventual` are read eventually consistently. Makes one request for up to 100 keys; further
    requests run in parallel. Duplicate keys are requested once.
    """
    wanted: list[tuple[str, WireItem]] = []
    for table, table_keys in keys.items():
        unique = {tuple(sorted(key.items())): key for key in table_keys}
        wanted += [(table, to_attributes(key)) for key in unique.values()]
    chunks = [wanted[start : start + BATCH_GET_LIMIT] for start in range(0, len(wanted), BATCH_GET_LIMIT)]
    results = parallel(*(functools.partial(_batch_get_chunk, chunk, eventual) for chunk in chunks))
    merged: dict[str, list[Item]] = {table: [] for table in keys}
    for result in results:
        for table, items in result.items():
            merged[table] += items
    return merged


def _batch_get_chunk(chunk: list[tuple[str, WireItem]], eventual: Sequence[str]) -> dict[str, list[Item]]:
    config = settings()
    logical = {config.table(table): table for table, _ in chunk}
    request: Parameters = {}
    for table, key in chunk:
        entry = request.setdefault(config.table(table), {"Keys": [], "ConsistentRead": table not in eventual})
        entry["Keys"].append(key)
    found: dict[str, list[Item]] = {table: [] for table in logical.values()}
    for wait in _backoff():
        response = call("dynamodb", "BatchGetItem", {"RequestItems": request})
        for physical, items in response["Responses"].items():
            found[logical[physical]] += [from_attributes(item) for item in items]
        request = response.get("UnprocessedKeys") or {}
        if not request:
            break
        wait()
    return found


@dataclass(frozen=True, slots=True)
class Page:
    """Items of a query, the key to continue after (None at the end), and how many the filter examined."""

    items: list[Item]
    more: Item | None = None
    looked_at: int = 0


class QueryOptions(TypedDict, total=False):
    """How a query is made. Without them it reads whole items of the table, consistently and in order."""

    index: str
    forward: bool
    consistent: bool
    names: Mapping[str, str] | None
    filter_expression: str | None
    attributes: Sequence[str]


def query_page(
    table: str,
    condition: str,
    values: Values,
    *,
    limit: int | None = None,
    after: Item | None = None,
    **options: Unpack[QueryOptions],
) -> Page:
    """Send one Query request: `condition` with `:values`, at most `limit` items or 1 MB."""
    parameters: Parameters = {
        "TableName": settings().table(table),
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": {name: serialize(value) for name, value in values.items()},
        "ScanIndexForward": options.get("forward", True),
        "ConsistentRead": options.get("consistent", True),
    }
    if attributes := options.get("attributes"):
        parameters.update(_projection(attributes))
    if names := options.get("names"):
        parameters["ExpressionAttributeNames"] = {**parameters.get("ExpressionAttributeNames", {}), **names}
    for name, value in (
        ("IndexName", options.get("index")),
        ("Limit", limit),
        ("FilterExpression", options.get("filter_expression")),
        ("ExclusiveStartKey", to_attributes(after) if after else None),
    ):
        if value is not None:
            parameters[name] = value
    return _page(call("dynamodb", "Query", parameters))


def query_pages(
    table: str,
    condition: str,
    values: Values,
    *,
    most: int | None = None,
    limit: int | None = None,
    **options: Unpack[QueryOptions],
) -> Iterator[Page]:
    """Yield the pages of a query, to its end or to `most` items. Each has at most `limit` items.

    Each page is one request, made when the page is needed.
    """
    left, after = most, None
    while True:
        of_page = limit if left is None else left
        page = query_page(table, condition, values, limit=of_page, after=after, **options)
        yield page
        after = page.more
        if left is not None:
            left -= len(page.items)
        if after is None or (left is not None and left <= 0):
            return


def query(
    table: str,
    condition: str,
    values: Values,
    *,
    limit: int | None = None,
    **options: Unpack[QueryOptions],
) -> list[Item]:
    """Return all items of a query, or up to `limit`. One request for each 1 MB."""
    pages = query_pages(table, condition, values, most=limit, **options)
    return [item for page in pages for item in page.items]


def scan_page(table: str, *, after: Item | None = None, **options: Any) -> Page:
    """Send one Scan request with DynamoDB's own `options`: up to 1 MB of items, eventually consistent.

    `after` is where an earlier page ended (`Page.more`); None for the first page.
    """
    if after is not None:
        options["ExclusiveStartKey"] = to_attributes(after)
    response = call("dynamodb", "Scan", {"TableName": settings().table(table), **options})
    return _page(response)


def _page(response: Parameters) -> Page:
    items, last = [from_attributes(item) for item in response["Items"]], response.get("LastEvaluatedKey")
    return Page(items, from_attributes(last) if last else None, response["ScannedCount"])


def scan(table: str, **options: Any) -> Iterator[Item]:
    """Yield every item of a table, page by page, eventually consistent."""
    after: Item | None = None
    while True:
        page = scan_page(table, after=after, **options)
        yield from page.items
        after = page.more
        if after is None:
            return


def _projection(attributes: Sequence[str]) -> Parameters:
    return {
        "ProjectionExpression": ",".join(f"#p{number}" for number in range(len(attributes))),
        "ExpressionAttributeNames": {f"#p{number}": name for number, name in enumerate(attributes)},
    }


# -- Writing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    """One write operation, made by `put`, `update`, `delete` or `check`.

    `name` identifies the write in ConditionFailed, for a caller that must know whether it was refused.
    """

    kind: str
    table: str
    parameters: Parameters = field(hash=False)
    name: str = ""

    def named(self, name: str) -> Write:
        """Return the same write with a name."""
        return replace(self, name=name)

    def to_request(self) -> Parameters:
        return {"TableName": settings().table(self.table), **self.parameters}


def put(
    table: str,
    item: Item,
    *,
    condition: str | None = None,
    values: Values | None = None,
    names: Mapping[str, str] | None = None,
    return_old: bool = False,
) -> Write:
    """Return a write that stores `item`, if `condition` holds."""
    return Write(
        "Put", table, {"Item": to_attributes(item), **_expression(condition, values, names, return_old)}
    )


def update(
    table: str,
    key: Key,
    expression: str,
    *,
    values: Values | None = None,
    names: Mapping[str, str] | None = None,
    condition: str | None = None,
    return_old: bool = False,
) -> Write:
    """Return a write that changes the item with `key` by an update expression, if `condition` holds."""
    return Write(
        "Update",
        table,
        {
            "Key": to_attributes(key),
            "UpdateExpression": expression,
            **_expression(condition, values, names, return_old),
        },
    )


def delete(
    table: str,
    key: Key,
    *,
    condition: str | None = None,
    values: Values | None = None,
    names: Mapping[str, str] | None = None,
    return_old: bool = False,
) -> Write:
    """Return a write that deletes the item with `key`, if `condition` holds."""
    return Write(
        "Delete", table, {"Key": to_attributes(key), **_expression(condition, values, names, return_old)}
    )


def check(
    table: str,
    key: Key,
    condition: str,
    *,
    values: Values | None = None,
    names: Mapping[str, str] | None = None,
) -> Write:
    """Return a check for a transaction: `condition` must hold for the item with `key`."""
    return Write(
        "ConditionCheck", table, {"Key": to_attributes(key), **_expression(condition, values, names)}
    )


def _expression(
    condition: str | None,
    values: Values | None,
    names: Mapping[str, str] | None,
    return_old: bool = False,
) -> Parameters:
    parameters: Parameters = {}
    if condition is not None:
        parameters["ConditionExpression"] = condition
    if values:
        parameters["ExpressionAttributeValues"] = {name: serialize(value) for name, value in values.items()}
    if names:
        parameters["ExpressionAttributeNames"] = dict(names)
    if return_old:
        parameters["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return parameters


def execute(write: Write, *, returning: str = "NONE") -> Item | None:
    """Execute one write. Returns the item if `returning` is ALL_OLD or ALL_NEW, else None.

    Raises ConditionFailed if its own condition fails, Unavailable if conflicts don't end.
    """
    request = {**write.to_request(), "ReturnValues": returning}

    def attempt() -> Item | None:
        try:
            response = call("dynamodb", f"{write.kind}Item", request)
        except ServiceError as error:
            if error.code == "ConditionalCheckFailedException":
                item = error.answer.get("Item")
                raise ConditionFailed({write.name: from_attributes(item) if item else None}) from error
            if error.code == "TransactionConflictException":
                raise ConditionFailed() from error
            raise
        attributes = response.get("Attributes")
        return from_attributes(attributes) if attributes else None

    return _patiently(attempt)


def try_execute(write: Write) -> bool:
    """Execute one write. Returns False if its own condition failed. Raises Unavailable."""
    try:
        execute(write)
    except ConditionFailed:
        return False
    return True


def transact(writes: Sequence[Write], *, token: str | None = None, patient: bool = True) -> None:
    """Execute up to 100 writes, all or none. `token` makes a repetition within ten minutes harmless.

    Pass `patient=False` if you re-plan after contention; it then raises ConditionFailed without `names`.
    Raises ConditionFailed, and Unavailable if conflicts with other transactions don't end.
    """
    if len(writes) > TRANSACTION_LIMIT:
        raise ValueError(f"{len(writes)} writes are more than a transaction holds")
    items = [{write.kind: write.to_request()} for write in writes]
    given = {"ClientRequestToken": token} if token is not None else {}

    def attempt() -> None:
        try:
            call("dynamodb", "TransactWriteItems", {"TransactItems": items, **given})
        except ServiceError as error:
            if error.code == "TransactionCanceledException":
                raise _cancelled(writes, error.answer.get("CancellationReasons") or ()) from error
            if error.code in ("TransactionConflictException", "TransactionInProgressException"):
                raise ConditionFailed() from error
            raise

    if patient:
        _patiently(attempt)
    else:
        attempt()


def _patiently(attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns. Contention repeats it. Raises ConditionFailed, Unavailable."""
    for number in range(1, CONTENDED_ATTEMPTS + 1):
        try:
            return attempt()
        except ConditionFailed as error:
            if error.names:
                raise
        if number < CONTENDED_ATTEMPTS:
            note_retry()
            time.sleep(random.uniform(0, CONTENDED_PAUSE_S * 2**number))
    raise Unavailable("Too many requests are about the same at once; try again")


def _cancelled(writes: Sequence[Write], reasons: Sequence[Answer]) -> Exception:
    codes = [reason.get("Code", "None") for reason in reasons]
    unexpected = {"ValidationError", "ItemCollectionSizeLimitExceeded", "AccessDenied"}.intersection(codes)
    if unexpected:
        details = "; ".join(str(reason.get("Message")) for reason in reasons if reason.get("Message"))
        return RuntimeError(f"the transaction was refused: {details}")
    refusals: dict[str, Item | None] = {}
    for write, reason in zip(writes, reasons, strict=False):
        if reason.get("Code") == "ConditionalCheckFailed":
            item = from_attributes(reason["Item"]) if reason.get("Item") else None
            refusals[write.name] = item or refusals.get(write.name)
    return ConditionFailed(refusals)


def batch_write(writes: Sequence[Write]) -> None:
    """Execute unconditional puts and deletes, 25 in a request. Some may succeed although others fail."""

    def entry(write: Write) -> Parameters:
        if write.kind == "Put":
            return {"PutRequest": {"Item": write.parameters["Item"]}}
        return {"DeleteRequest": {"Key": write.parameters["Key"]}}

    def send(chunk: Sequence[Write]) -> None:
        request: Parameters = {}
        for write in chunk:
            request.setdefault(settings().table(write.table), []).append(entry(write))
        for wait in _backoff():
            answer = call("dynamodb", "BatchWriteItem", {"RequestItems": request})
            request = answer.get("UnprocessedItems") or {}
            if not request:
                return
            wait()

    starts = range(0, len(writes), BATCH_WRITE_LIMIT)
    parallel(*(functools.partial(send, writes[start : start + BATCH_WRITE_LIMIT]) for start in starts))


def _backoff(attempts: int = 8) -> Iterator[Callable[[], None]]:
    for attempt in range(attempts):
        yield functools.partial(time.sleep, random.uniform(0, 0.05 * 2**attempt))
    raise TimeoutError("DynamoDB kept leaving requests unprocessed")
