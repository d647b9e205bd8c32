"""The server under test: a local cloud in this process, without a network between."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from local_cloud.cloud import Cloud
from local_cloud.config import Config
from local_cloud.database.dynoxide import free_port
from local_cloud.gateway.events import (
    HttpRequest,
    connect_event,
    disconnect_event,
    message_event,
    websocket_context,
)
from local_cloud.gateway.http import HttpGateway
from local_cloud.gateway.routes import Routes
from local_cloud.lambdas import FunctionError
from murmuration.endpoint import Function, WebSocket, discover, http_routes
from murmuration.identity import patience
from murmuration.transport.connections import Connection, Peer
from murmuration.transport.deadlines import Deadline

SERVER_NAME = "localhost"
_PROVIDER = [
    {
        "id": "idp",
        "name": "Identity",
        "client_id": "murmuration",
        "issuer": "https://idp.invalid",
        "authorization_endpoint": "https://idp.invalid/authorize",
        "token_endpoint": "https://idp.invalid/token",
        "jwks_uri": "https://idp.invalid/jwks",
    }
]


@dataclass(frozen=True)
class Sent:
    """A request as it goes out: `target` is the path and the query, percent-encoded as it shall be."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    traces: list[str] = field(default_factory=list)
    """What was logged as an error meanwhile, with its traceback."""
    asked: frozenset[str] = frozenset()
    """The hosts to which the request's functions tried to connect."""
    asked_ever: frozenset[str] = frozenset()
    """The same of all requests until now, and of the workers."""

    @property
    def json(self) -> Any:
        """The body's value; None where it isn't JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class _Traces(logging.Handler):
    """Keeps the errors that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            said += "\n" + "".join(traceback.format_exception(*record.exc_info))
        self.found.append(said)


class Attempts:
    """Notes the hosts to which connections are tried: whether a name resolves is part of it."""

    def __init__(self) -> None:
        self.ever: set[str] = set()
        self.by_requests: list[str] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Record these hosts in this block."""
        genuine = Connection.__init__

        def connect(connection: Connection, peer: Peer, deadline: Deadline) -> None:
            work = patience._work.get()
            self.ever.add(peer.host)
            if isinstance(work, patience._Request):  # workers go on beside requests
                self.by_requests.append(peer.host)
            genuine(connection, peer, deadline)

        with patch.object(Connection, "__init__", connect):
            yield


class _Deaf:
    """The client's end of a WebSocket: takes each message, and does nothing with it."""

    def __init__(self, connection_id: str) -> None:
        self.id = connection_id

    def post(self, data: bytes) -> None:
        """Take a message."""

    def close(self, code: int, reason: str = "") -> None:
        """Take the end."""


class Target:
    """Answers requests one after another."""

    def __init__(
        self, cloud: Cloud, functions: Sequence[Function], traces: _Traces, attempts: Attempts
    ) -> None:
        secret = cloud.ssm.get_parameters({"Names": ["/murmuration-local/viewer-secret"]})["Parameters"][0][
            "Value"
        ]
        self._gateway = HttpGateway(
            Routes(http_routes(functions)), cloud.lambdas, cloud.config.limits, secret
        )
        self._loop = asyncio.new_event_loop()
        self._lambdas, self._secret, self._traces = cloud.lambdas, secret, traces
        self._sockets = {each.route.key: each for each in functions if isinstance(each.route, WebSocket)}
        self.functions = functions
        self._open = cloud.sockets
        self._attempts = attempts

    def close(self) -> None:
        self._loop.close()

    def send(self, sent: Sent) -> Answer:
        """Return the answer to an HTTP request."""
        path, _, query = sent.target.partition("?")
        scope = {
            "type": "http",
            "method": sent.method,
            "http_version": "1.1",
            "client": ("127.0.0.1", 5),
            "raw_path": path.encode("utf-8", "surrogatepass"),
            "query_string": query.encode("utf-8", "surrogatepass"),
            "headers": [
                (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in sent.headers
            ],
        }
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": sent.body, "more_body": False}

        async def collect(message: Any) -> None:
            messages.append(message)

        began, attempts = time.monotonic(), self._attempts
        first, attempt = len(self._traces.found), len(attempts.by_requests)
        self._loop.run_until_complete(self._gateway(scope, receive, collect))
        head = messages[0]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head["headers"]}
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return Answer(
            head["status"],
            headers,
            body,
            time.monotonic() - began,
            self._traces.found[first:],
            frozenset(attempts.by_requests[attempt:]),
            frozenset(attempts.ever),
        )

    def socket(self, token: str, messages: Sequence[str | bytes], query: str = "") -> Answer:
        """Return the results of a WebSocket's handshake, messages and end; 500 if a function failed."""
        began, first = time.monotonic(), len(self._traces.found)
        bearer = [(b"authorization", f"Bearer {token}".encode("latin-1", "replace"))]
        request = HttpRequest("GET", "/_matrix/client/v3/stream", query, bearer, "127.0.0.1", "HTTP/1.1")
        connection_id = quote(token[-12:] or "none", safe="") + "="

        def context(route: str, kind: str) -> dict[str, Any]:
            return websocket_context(request, connection_id, 1, route, kind)

        events = [("$connect", connect_event(request, context("$connect", "CONNECT"), self._secret))]
        events += [
            ("$default", message_event(context("$default", "MESSAGE"), message)) for message in messages
        ]
        events += [("$disconnect", disconnect_event(context("$disconnect", "DISCONNECT")))]
        status, body = 200, b""
        self._open.add(_Deaf(connection_id))  # type: ignore[arg-type] # it takes what is posted
        for route, event in events:
            try:
                answer = self._lambdas.invoke(self._sockets[route], event, 29)
            except FunctionError as error:
                status, body = 500, f"{route}: {error}".encode()
                break
            if answer["statusCode"] >= 400:
                status, body = answer["statusCode"], str(answer.get("body")).encode()
            if route == "$connect" and status >= 400:
                break
        return Answer(status, {}, body, time.monotonic() - began, self._traces.found[first:])


@contextmanager
def target(folder: Path) -> Iterator[Target]:
    """Yield a server over an empty folder, with short waits and cheap password hashes.

    It needs the process for itself, since settings and clients are kept in the process's caches.
    """
    import murmuration.drafts.v2.event_stream
    import murmuration.media.finding
    import murmuration.sync.waiting
    from murmuration.endpoint.logging import logger

    waits = (
        (murmuration.sync.waiting, "MAXIMUM_TIMEOUT_MS"),
        (murmuration.drafts.v2.event_stream, "MAXIMUM_TIMEOUT_MS"),
        (murmuration.media.finding, "MAX_WAIT_MS"),
    )
    config = Config(
        port=free_port(),
        server_name=SERVER_NAME,
        data=folder,
        registration="open",
        rate_limits=False,
        variables={
            "PASSWORD_COST": "4",
            "MAIL_SENDER": "server@example.org",
            "TURN_URIS": "turn:turn.example.org",
            "IDENTITY_PROVIDERS": json.dumps(_PROVIDER),
        },
        parameters={"turn-secret": "secret", "identity-provider-idp": "secret"},
    )
    functions = discover()
    traces = _Traces()
    with ExitStack() as stack:
        for module, name in waits:
            stack.enter_context(patch.object(module, name, 0))
        cloud = Cloud(config, functions=functions)
        cloud.start()
        stack.callback(cloud.stop)
        for log in (logging.getLogger("local_cloud"), logger()._logger):
            log.addHandler(traces)
            stack.callback(log.removeHandler, traces)
            stack.enter_context(_silent(log))
        attempts = Attempts()
        stack.enter_context(attempts.noted())
        made = Target(cloud, functions, traces, attempts)
        stack.callback(made.close)
        yield made


@contextmanager
def _silent(log: logging.Logger) -> Iterator[None]:
    """Turn a logger's other handlers off meanwhile."""
    others = [handler for handler in log.handlers if not isinstance(handler, _Traces)]
    propagated, log.propagate = log.propagate, False
    for handler in others:
        log.removeHandler(handler)
    try:
        yield
    finally:
        log.propagate = propagated
        for handler in others:
            log.addHandler(handler)
