"""The stage: tables, bucket, queues and secrets that a function finds, set to a world, and watched.

DynamoDB is the one at a URL; S3, SQS and SSM answer in process. What a function writes is found by comparing
the tables that it wrote to with what was there, and taken back before the next event.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_cloud import environment, provision
from local_cloud.aws import patch
from local_cloud.aws.s3 import S3
from local_cloud.aws.sqs import Sqs
from local_cloud.aws.ssm import Ssm
from local_cloud.config import Config, Limits
from local_cloud.gateway.http import response_of
from local_cloud.lambdas import LambdaContext
from local_cloud.replay.worlds import Contents, Item, World, item_key, key_names
from local_cloud.store import Store

Handler = Callable[[Any, Any], Any]

_LONG_LIVED = frozenset(("client", "session", "_threads"))
"""Cached accessors of what costs much to make and remembers nothing of a world."""


@dataclass
class Outcome:
    """What came of an event: the function's answer, and what is now where.

    For an HTTP event `status`, `headers` (lower-case names) and `body` are the client's view: `body` is the
    value of JSON, or bytes. `items` are those written, by table, `deleted` the keys of those gone,
    `objects` what the bucket got, `messages` those sent, by queue.
    """

    answer: Any
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    items: dict[str, list[Item]] = field(default_factory=dict)
    deleted: dict[str, list[Item]] = field(default_factory=dict)
    objects: list[dict[str, Any]] = field(default_factory=list)
    messages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Stage:
    """Replays events in this process, one after the other; a context manager.

    There can be one at a time, since the environment and botocore are shared. `variables` are added to the
    functions' environment.
    """

    def __init__(
        self,
        database_url: str,
        folder: Path,
        *,
        prefix: str,
        secrets: Mapping[str, str],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        config = Config(server_name="example.org")
        self._variables = {
            **environment.environment(config, database_url),
            "MURMURATION_PREFIX": prefix,
            **(variables or {}),
        }
        self._prefix = prefix
        self._folder = folder
        self._secrets = secrets
        self._cleanup = ExitStack()
        self._sqs = Sqs()
        self._touched: set[str] = set()
        self._standing: Contents = {}
        self._world: World | None = None

    def __enter__(self) -> Stage:
        with ExitStack() as cleanup:
            before = environment.enter(self._variables)
            cleanup.callback(forget, everything=True)
            cleanup.callback(environment.leave, before)
            self._store = Store(Path(":memory:"))
            cleanup.callback(self._store.close)
            self._s3, self._ssm = S3(self._store, self._folder), Ssm(self._store)
            self._services = patch.Services(self._operations())
            patch.install(self._services)
            cleanup.callback(patch.uninstall, self._services)
            forget(everything=True)
            self._provision()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def _operations(self) -> dict[str, Mapping[str, patch.Operation]]:
        return {
            "s3": self._s3.operations(),
            "ssm": self._ssm.operations(),
            "sqs": {
                name: lambda params, name=name: self._sqs.operations()[name](params)  # type: ignore[misc]
                for name in self._sqs.operations()
            },
        }

    def _provision(self) -> None:
        from murmuration.settings import settings
        from murmuration.storage import dynamodb
        from murmuration.storage.tables import TABLES

        provision.create_tables(dynamodb.client(), TABLES, prefix=self._prefix)
        dynamodb.client().meta.events.register("provide-client-params.dynamodb", self._note_tables)
        self._s3.create_bucket({"Bucket": settings().media_bucket})
        for name, value in self._secrets.items():
            self._ssm.put_parameter({"Name": f"/{self._prefix}/{name}", "Value": value})

    def _note_tables(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if model.name in patch.WRITES:
            for writes in params.get("TransactItems", ()):
                self._touched.update(operation["TableName"] for operation in writes.values())
            self._touched.update(params.get("RequestItems", ()))
            if "TableName" in params:
                self._touched.add(params["TableName"])

    # -- The world -------------------------------------------------------------------------------------------

    def set(self, world: World) -> None:
        """Have the tables, bucket and queues be as in `world`, and nothing else in them."""
        if world is self._world:
            return
        self._change(self._standing, world.contents)
        self._standing = {table: dict(items) for table, items in world.contents.items()}
        self._world = world

    def contents(self) -> Contents:
        """What all tables hold now."""
        from murmuration.storage.tables import TABLES

        return {table.name: found for table in TABLES if (found := _read(table.name))}

    def objects(self) -> dict[str, tuple[str, bytes]]:
        """What the bucket holds now: (content type, bytes) by key."""
        found = self._s3.list_objects_v2(self._bucket()).get("Contents", [])
        entries = {
            entry["Key"]: self._s3.get_object({**self._bucket(), "Key": entry["Key"]}) for entry in found
        }
        return {key: (entry["ContentType"], entry["Body"].read()) for key, entry in entries.items()}

    def adopt(self, world: World) -> None:
        """Take what is there now for the world that the next event begins with."""
        self._standing, self._world = self.contents(), world

    def _change(self, before: Contents, after: Contents) -> None:
        from murmuration.storage import dynamodb

        writes = []
        for table, items in before.items():
            gone = items.keys() - after.get(table, {}).keys()
            writes += [dynamodb.delete(table, _key(table, items[key])) for key in gone]
        for table, items in after.items():
            known = before.get(table, {})
            writes += [dynamodb.put(table, item) for key, item in items.items() if known.get(key) != item]
        if writes:
            dynamodb.batch_write(writes)

    def dress(self) -> None:
        """Have bucket and queues be as in the world."""
        self._sqs = Sqs()
        for statement in ("DELETE FROM objects", "DELETE FROM uploads", "DELETE FROM parts"):
            self._store.write(statement)
        world = self._world
        if world is not None:
            for name in world.queues:
                self._sqs.create_queue(
                    {"QueueName": provision.physical_queue(name, False, prefix=self._prefix)}
                )
            for key, (kind, data) in world.objects.items():
                self._s3.put_object({**self._bucket(), "Key": key, "Body": data, "ContentType": kind})

    def _bucket(self) -> dict[str, str]:
        return {"Bucket": self._variables["MURMURATION_MEDIA_BUCKET"]}

    # -- The play --------------------------------------------------------------------------------------------

    def play(
        self,
        handler: Handler,
        event: Mapping[str, Any],
        *,
        clock: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Hand `event` to the function, at `clock`; what came of it. The world is then as it was before.

        `settings` are the deployment's, such as `{"registration": "open"}`. Raises what the function raises.
        """
        self.dress()
        variables = {f"MURMURATION_{name.upper()}": value for name, value in (settings or {}).items()}
        with _environment(variables), stopped_clock(clock):
            self._touched.clear()
            answer = handler(event, LambdaContext("replay", str(uuid.uuid4()), 29.0))
        outcome = Outcome(answer)
        if isinstance(answer, dict) and "statusCode" in answer:
            outcome.status, outcome.headers, outcome.body = _client_view(answer)
        self._compare(outcome)
        return outcome

    def _compare(self, outcome: Outcome) -> None:
        touched = [name.removeprefix(f"{self._prefix}-") for name in sorted(self._touched)]
        for table in touched:
            now, before = _read(table), self._standing.get(table, {})
            outcome.items[table] = [item for key, item in now.items() if before.get(key) != item]
            gone = [_key(table, item) for key, item in before.items() if key not in now]
            outcome.deleted[table] = gone
            self._change({table: now}, {table: before})
        outcome.items = {table: items for table, items in outcome.items.items() if items}
        outcome.deleted = {table: keys for table, keys in outcome.deleted.items() if keys}
        outcome.objects = self._stored_objects()
        outcome.messages = self._queued_messages()

    def _stored_objects(self) -> list[dict[str, Any]]:
        before = self._world.objects if self._world is not None else {}
        return [
            {"key": key, "content_type": kind, "size": len(data)}
            for key, (kind, data) in self.objects().items()
            if key not in before
        ]

    def _queued_messages(self) -> dict[str, list[dict[str, Any]]]:
        every: dict[str, list[dict[str, Any]]] = {}
        for url in self._sqs.list_queues({})["QueueUrls"]:
            physical = url.rsplit("/", 1)[-1]
            messages = self._sqs.queue(physical).receive(10_000, wait=0)
            if messages:
                name = physical.removeprefix(f"{self._prefix}-")
                every[name] = [
                    {"body": _parsed(message.body), **({"group": message.group} if message.group else {})}
                    for message in messages
                ]
        return every


def _client_view(answer: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body as the gateway sends them on. Raises MalformedAnswer."""
    status, pairs, body = response_of(answer, Limits().lambda_payload_bytes)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    if headers["content-type"].partition(";")[0] == "application/json":
        return status, headers, json.loads(body) if body else None
    return status, headers, body


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read(table: str) -> dict[tuple[Any, ...], Item]:
    from murmuration.storage import dynamodb

    return {item_key(table, item): item for item in dynamodb.scan(table, ConsistentRead=True)}


def _key(table: str, item: Mapping[str, Any]) -> Item:
    return {name: item[name] for name in key_names(table)}


# -- The process -------------------------------------------------------------------------------------------


def forget(*, everything: bool = False) -> None:
    """Have the product's modules forget what they remember between requests, as a cold start does.

    Clients are kept, unless `everything` is to go.
    """
    from murmuration.storage.cache import LruCache

    for name, module in list(sys.modules.items()):
        if name == "murmuration" or name.startswith("murmuration."):
            for attribute, value in list(vars(module).items()):
                if isinstance(value, LruCache):
                    value.clear()
                elif hasattr(value, "cache_clear") and (everything or attribute not in _LONG_LIVED):
                    value.cache_clear()


@contextmanager
def stopped_clock(now_ms: int | None) -> Iterator[None]:
    """Let the product's clock stand at `now_ms`; None leaves it going."""
    from murmuration import clock

    if now_ms is None:
        yield
        return
    going = vars(clock)["time"]
    vars(clock)["time"] = _StoppedTime(now_ms)
    try:
        yield
    finally:
        vars(clock)["time"] = going


class _StoppedTime:
    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def time_ns(self) -> int:
        return self._now_ms * 1_000_000


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = environment.enter(variables)
    forget()
    try:
        yield
    finally:
        environment.leave(before)
        forget()
