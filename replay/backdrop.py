"""The backdrop: the environment and services of a function that is called in this process.

DynamoDB is reached at a URL; S3, SQS and SSM are simulated in this process.
"""

from __future__ import annotations

import functools
import json
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from local_cloud import environment, permissions, provision
from local_cloud.aws import patch
from local_cloud.aws.s3 import S3
from local_cloud.aws.ses import Ses
from local_cloud.aws.sqs import Sqs
from local_cloud.aws.ssm import Ssm
from local_cloud.config import Config, Limits
from local_cloud.gateway.http import response_of
from local_cloud.lambdas import Function, LambdaContext
from local_cloud.names import PREFIX
from local_cloud.permissions import acting_for, module_of
from local_cloud.store import Store
from replay.worlds import Item

if TYPE_CHECKING:
    from local_cloud.aws.shapes import Batch, ConnectionPost, MessageEntry, OfConnection, Parsed, SendMessage
    from murmuration.protocol.encoding.shapes import LambdaEvent

Handler = Callable[[Any, Any], Any]

_LONG_LIVED = frozenset(("client", "session", "_client", "_threads", "_tls", "_wire"))
"""Cached accessors of objects that are expensive to make and remember nothing of a world."""


@dataclass
class Outcome:
    """The outcome of an event: the function's answer, and what it changed.

    For an HTTP event, `status`, `headers` (lower-case names) and `body` are as the client sees them: `body`
    is a JSON value, or bytes. `items` are the items written, by table; `deleted` the keys of deleted items,
    by table; `objects` the objects put into the bucket; `messages` the messages sent, by queue. `posts` has
    what was sent to each WebSocket connection, with None if it was closed.
    """

    answer: Any
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    items: dict[str, list[Item]] = field(default_factory=dict)
    deleted: dict[str, list[Item]] = field(default_factory=dict)
    objects: list[dict[str, Any]] = field(default_factory=list)
    messages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    posts: dict[str, list[Any]] = field(default_factory=dict)


class Backdrop:
    """Calls functions in this process, one after the other; a context manager.

    There can be only one at a time, because the environment and botocore are shared. `store` has the
    parameters and the bucket's index, `objects` its bodies; `variables` are added to the functions'
    environment.
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
        self.connections: set[str] = set()
        self._sent: dict[str, list[dict[str, Any]]] = {}
        self._posts: dict[str, list[Any]] = {}
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
            permissions.install()
            patch.install(services)
            cleanup.callback(patch.uninstall, services)
            forget(everything=True)
            self.set_up()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def set_up(self) -> None:
        """Prepare for the first call."""

    def _operations(self) -> dict[str, Mapping[str, patch.Operation]]:
        def current(name: str) -> patch.Operation:
            def operation(params: object) -> Parsed:
                return self.sqs.operations()[name](params)  # of the queues that exist at that time

            return operation

        queues = {name: current(name) for name in self.sqs.operations()}
        return {
            "s3": self.s3.operations(),
            "ssm": self.ssm.operations(),
            "lambda": {"Invoke": lambda _params: {"StatusCode": 202}},  # no worker runs in a replay
            "sesv2": Ses(self._objects / "mail").operations_v2(),
            "sqs": {**queues, "SendMessage": self._send_message, "SendMessageBatch": self._send_messages},
            "apigatewaymanagementapi": {
                "PostToConnection": self._post_to_connection,
                "DeleteConnection": self._delete_connection,
            },
        }

    def clear_queues(self) -> None:
        """Create the deployment's queues again, empty."""
        self.sqs = Sqs()
        provision.create_queues(self.sqs, _functions(), prefix=self.prefix)

    def _send_message(self, params: SendMessage) -> Parsed:
        answer = self.sqs.send_message(params)
        self._note_message(params["QueueUrl"], params)
        return answer

    def _send_messages(self, params: Batch) -> Parsed:
        answer = self.sqs.send_message_batch(params)
        for entry in params["Entries"]:
            self._note_message(params["QueueUrl"], entry)
        return answer

    def _note_message(self, url: str, params: MessageEntry) -> None:
        name = url.rsplit("/", 1)[-1].removeprefix(f"{self.prefix}-")
        message = {"body": _parsed(params["MessageBody"])}
        if "MessageGroupId" in params:
            message["group"] = params["MessageGroupId"]
        if "DelaySeconds" in params:
            message["delay"] = params["DelaySeconds"]
        self._sent.setdefault(name, []).append(message)

    def _post_to_connection(self, params: ConnectionPost) -> Parsed:
        self._require_open(params["ConnectionId"])
        self._posts.setdefault(params["ConnectionId"], []).append(_parsed(params["Data"]))
        return {}

    def _delete_connection(self, params: OfConnection) -> Parsed:
        self._require_open(params["ConnectionId"])
        self.connections.discard(params["ConnectionId"])
        self._posts.setdefault(params["ConnectionId"], []).append(None)
        return {}

    def _require_open(self, connection_id: str) -> None:
        if connection_id not in self.connections:
            raise patch.AwsError("GoneException", "The connection is gone.", 410)

    def call(
        self,
        handler: Handler,
        event: LambdaEvent,
        *,
        clock: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Pass `event` to the function at the time `clock`. Returns its answer and the messages that it sent.

        `settings` are the deployment's, such as `{"registration": "open"}`. Raises what the function raises.
        """
        variables = {f"MURMURATION_{name.upper()}": value for name, value in (settings or {}).items()}
        self.clear_queues()
        self._sent, self._posts = {}, {}
        with _environment(variables), stopped_clock(clock), acting_for(module_of(handler)):
            answer = handler(event, LambdaContext("replay", str(uuid.uuid4()), 29.0))
        outcome = Outcome(answer)
        if isinstance(answer, dict) and "statusCode" in answer:
            outcome.status, outcome.headers, outcome.body = _client_view(answer)
        outcome.messages, outcome.posts = self._sent, self._posts
        return outcome


@functools.cache
def _functions() -> tuple[Function, ...]:
    from murmuration.endpoint import discover

    return tuple(discover())


def _client_view(answer: Parsed) -> tuple[int, dict[str, str], Any]:
    """Return the status, headers and body that the gateway sends to the client. Raises MalformedAnswer."""
    status, pairs, body = response_of(answer, Limits().lambda_payload_bytes)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    if headers["content-type"].partition(";")[0] == "application/json":
        return status, headers, json.loads(body) if body else None
    return status, headers, body


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


# -- The process -------------------------------------------------------------------------------------------


def forget(*, everything: bool = False) -> None:
    """Clear the caches of the product's modules, as after a cold start.

    AWS clients are kept, unless `everything` is true.
    """
    from murmuration.cache import LruCache

    for name, module in list(sys.modules.items()):
        if name == "murmuration" or name.startswith("murmuration."):
            for attribute, value in list(vars(module).items()):
                if isinstance(value, LruCache):
                    value.clear()
                elif hasattr(value, "cache_clear") and (everything or attribute not in _LONG_LIVED):
                    value.cache_clear()


@contextmanager
def stopped_clock(now_ms: int | None) -> Iterator[None]:
    """Stop the product's clock at `now_ms` until the block ends; None lets it run."""
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
