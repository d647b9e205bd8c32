"""The backdrop: the environment and services that a function finds when it is called in this process.

DynamoDB is the one at a URL; S3, SQS and SSM answer in process.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from local_cloud import environment, provision
from local_cloud.aws import patch
from local_cloud.aws.s3 import S3
from local_cloud.aws.sqs import Sqs
from local_cloud.aws.ssm import Ssm
from local_cloud.config import Config, Limits
from local_cloud.gateway.http import response_of
from local_cloud.lambdas import LambdaContext
from local_cloud.names import PREFIX
from local_cloud.replay.worlds import Item
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


class Backdrop:
    """Calls functions in this process, one after the other; a context manager.

    There can be one at a time, since the environment and botocore are shared. `store` has the parameters and
    the bucket's index, `objects` its bodies; `variables` are added to the functions' environment.
    """

    def __init__(
        self,
        database_url: str,
        objects: Path,
        *,
        store: Path,
        prefix: str = PREFIX,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.variables = {
            **environment.environment(Config(), database_url),
            "MURMURATION_PREFIX": prefix,
            **(variables or {}),
        }
        self.prefix = prefix
        self.sqs = Sqs()
        self._objects = objects
        self._store_path = store
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            before = environment.enter(self.variables)
            cleanup.callback(forget, everything=True)
            cleanup.callback(environment.leave, before)
            self.store = Store(self._store_path)
            cleanup.callback(self.store.close)
            self.s3, self.ssm = S3(self.store, self._objects), Ssm(self.store)
            services = patch.Services(self._operations())
            patch.install(services)
            cleanup.callback(patch.uninstall, services)
            forget(everything=True)
            self.set_up()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def set_up(self) -> None:
        """What there is to do before the first call."""

    def _operations(self) -> dict[str, Mapping[str, patch.Operation]]:
        return {
            "s3": self.s3.operations(),
            "ssm": self.ssm.operations(),
            "sqs": {
                name: lambda params, name=name: self.sqs.operations()[name](params)  # type: ignore[misc]
                for name in self.sqs.operations()
            },
        }

    def create_queue(self, name: str) -> None:
        """Make the queue with the logical name `name`."""
        self.sqs.create_queue({"QueueName": provision.physical_queue(name, False, prefix=self.prefix)})

    def call(
        self,
        handler: Handler,
        event: Mapping[str, Any],
        *,
        clock: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Hand `event` to the function, at `clock`; its answer, and what it sent to queues.

        `settings` are the deployment's, such as `{"registration": "open"}`. Raises what the function raises.
        """
        variables = {f"MURMURATION_{name.upper()}": value for name, value in (settings or {}).items()}
        with _environment(variables), stopped_clock(clock):
            answer = handler(event, LambdaContext("replay", str(uuid.uuid4()), 29.0))
        outcome = Outcome(answer)
        if isinstance(answer, dict) and "statusCode" in answer:
            outcome.status, outcome.headers, outcome.body = _client_view(answer)
        outcome.messages = self._queued_messages()
        return outcome

    def _queued_messages(self) -> dict[str, list[dict[str, Any]]]:
        every: dict[str, list[dict[str, Any]]] = {}
        for url in self.sqs.list_queues({})["QueueUrls"]:
            physical = url.rsplit("/", 1)[-1]
            messages = self.sqs.queue(physical).receive(10_000, wait=0)
            if messages:
                name = physical.removeprefix(f"{self.prefix}-")
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
