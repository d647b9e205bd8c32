"""Sends requests to other homeservers.

A request is signed for its destination and sent over a kept connection. Its time and the size of its answer
are limited. A server that fails isn't asked again for a while (`health`). A request is repeated only if
its `tries` say so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, Unpack

from murmuration import server_keys
from murmuration.clock import now_ms
from murmuration.federation.names import policy, resolving
from murmuration.federation.names.resolving import NoRoute, Route
from murmuration.federation.requests import health
from murmuration.federation.requests.errors import (
    BackingOff,
    Malformed,
    RateLimited,
    Refused,
    TimedOut,
    Unreachable,
)
from murmuration.federation.requests.targets import Query, path, target
from murmuration.protocol.encoding import canonical_json, x_matrix
from murmuration.protocol.errors import NotJson
from murmuration.settings import settings
from murmuration.transport import errors
from murmuration.transport.errors import AnswerTooLarge, NotConnected, TransportError

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Untrusted
    from murmuration.protocol.identifiers import ServerName
    from murmuration.transport.connections import Peer
    from murmuration.transport.exchanges import Exchange

    class Options(TypedDict, total=False):
        """How a request is made: the fields of `Request` with these names."""

        query: Query | None
        body: object
        seconds: float
        tries: int
        for_user: bool
        signed: bool


__all__ = ["Answer", "Request", "Statuses", "path", "request", "request_value", "stream"]

SECONDS = 30.0
MAX_BYTES = 4 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
JSON = "application/json"
_GONE = (502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 530)
"""The statuses that proxies return for a server that isn't running."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request to another server. `path` is percent-encoded, as the function `path` makes it.

    Each of `tries` may take `seconds`. `for_user` says that a user waits, so that a server whose failure is
    over a minute ago is tried again. `accept` is the requested type of the answer's body.
    """

    method: str
    path: str
    query: Query | None = None
    body: object = x_matrix.ABSENT
    seconds: float = SECONDS
    tries: int = 1
    for_user: bool = False
    signed: bool = True
    accept: str = JSON


@dataclass(frozen=True, slots=True)
class Statuses:
    """Statuses that count as something else than usual.

    `answers` aren't errors, such as redirects. `failures` count as a failure of the server, as if it didn't
    answer. `refusals` normally mean that the server isn't running (such as 502), but count as its own answer
    if they come with an errcode.
    """

    answers: Container[int] = ()
    failures: Container[int] = ()
    refusals: Container[int] = ()


ORDINARY = Statuses()


class Answer:
    """A successful answer whose body is still to be read."""

    def __init__(self, destination: ServerName, exchange: Exchange, started_ms: int) -> None:
        self._destination = destination
        self._started_ms = started_ms
        self._exchange = exchange
        self.status: int = exchange.status
        self.headers = exchange.headers

    def chunks(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the body piece by piece. Raises Unreachable if it breaks off, Malformed once it is too
        large.
        """
        try:
            yield from self._exchange.chunks(max_bytes)
        except AnswerTooLarge as error:
            raise Malformed(str(error)) from error
        except TransportError as error:
            health.failed(self._destination, self._started_ms)
            raise _unreachable(str(error), error) from error

    def json(self, max_bytes: int) -> object:
        """Return the body as JSON. Raises Unreachable, Malformed."""
        return self.parsed(b"".join(self.chunks(max_bytes)))

    def parsed(self, body: bytes) -> object:
        """Return the JSON value of the body, once it is read. Raises Malformed."""
        try:
            return canonical_json.loads(body)
        except NotJson as error:
            raise Malformed(f"{self._destination} answered with what is not JSON") from error

    def parsed_object(self, body: bytes) -> Untrusted:
        """Return the JSON object of the body, once it is read. Raises Malformed."""
        value = self.parsed(body)
        if not isinstance(value, dict):
            raise Malformed(f"{self._destination} answered with JSON that is no object")
        return value


def request(
    destination: ServerName,
    method: str,
    of_path: str,
    *,
    max_bytes: int = MAX_BYTES,
    **options: Unpack[Options],
) -> Untrusted:
    """Return the JSON object that `destination` answers.

    `Request` explains the parameters. Raises Unreachable (BackingOff if it wasn't asked, TimedOut if it took
    too long), Refused, RateLimited, Malformed; Forbidden for a server that the operator's lists exclude.
    """
    with stream(destination, Request(method, of_path, **options)) as answer:
        return answer.parsed_object(b"".join(answer.chunks(max_bytes)))


def request_value(
    destination: ServerName,
    method: str,
    of_path: str,
    *,
    max_bytes: int = MAX_BYTES,
    **options: Unpack[Options],
) -> object:
    """Do the same as `request`, for paths whose answer may be any JSON value: some of version 1 answer a
    list.
    """
    with stream(destination, Request(method, of_path, **options)) as answer:
        return answer.json(max_bytes)


@contextlib.contextmanager
def stream(destination: ServerName, request: Request, statuses: Statuses = ORDINARY) -> Iterator[Answer]:
    """Yield a successful answer (200 to 299) as it arrives, for bodies that are too large for memory.

    Raises what the function `request` raises.
    """
    policy.require_allowed(destination)
    if destination == settings().server_name:
        raise Unreachable("This server doesn't ask itself")
    known = health.of(destination)
    if not health.may_ask(known, for_user=request.for_user):
        raise BackingOff(f"{destination} failed lately", known.retry_at_ms)
    started_ms = now_ms()
    with _try(destination, request, started_ms) as exchange:
        _record_status(destination, exchange, statuses, started_ms)
        yield Answer(destination, exchange, started_ms)


def _try(destination: ServerName, request: Request, started_ms: int) -> Exchange:
    """Send a request until it is answered, at most as often as it says. Raises Unreachable."""
    for left in range(request.tries - 1, -1, -1):
        try:
            return _send(destination, request)
        except Unreachable:
            if not left:
                health.failed(destination, started_ms)
                raise
    raise AssertionError("a request is tried at least once")


def _send(destination: ServerName, request: Request) -> Exchange:
    """Return the exchange over the first route that connects. Raises Unreachable."""
    from murmuration.transport.deadlines import Deadline
    from murmuration.transport.exchanges import send

    deadline = Deadline(request.seconds)
    uri, body = target(request.path, request.query), request.body
    content = None if body is x_matrix.ABSENT else canonical_json.encode(body, strict=False)
    headers = {"Accept": request.accept, "Accept-Encoding": "gzip", "User-Agent": "Murmuration"}
    if content is not None:
        headers["Content-Type"] = "application/json"
    if request.signed:
        headers["Authorization"] = x_matrix.authorization(
            server_keys.signing_key(), request.method, uri, settings().server_name, destination, body
        )
    failure: Exception | None = None
    try:
        for route in resolving.resolve(destination):
            try:
                sent = {"Host": route.host_header, **headers}
                return send(_peer(route), request.method, uri, sent, content, deadline)
            except NotConnected as error:
                failure = error
    except (NoRoute, TransportError) as error:
        failure = error
    raise _unreachable(f"{destination}: {failure}", failure) from failure


def _unreachable(message: str, failure: Exception | None) -> Unreachable:
    kind = TimedOut if isinstance(failure, errors.TimedOut) else Unreachable
    return kind(message)


def _peer(route: Route) -> Peer:
    from murmuration.transport.connections import Peer

    return Peer(
        route.host, route.port, route.certificate_name, policy.reach(), ca_file=settings().federation_ca
    )


def _record_status(destination: ServerName, exchange: Exchange, statuses: Statuses, started_ms: int) -> None:
    """Record what an answer's status says about its server's health. Raises what `_check_status` raises."""
    try:
        _check_status(destination, exchange, statuses)
    except RateLimited as error:
        health.held(destination, error.retry_after_ms)
        raise
    except Refused:
        health.well(destination)
        raise
    except Unreachable:
        health.failed(destination, started_ms)
        raise
    health.well(destination)


def _check_status(destination: ServerName, exchange: Exchange, statuses: Statuses) -> None:
    """Raise Unreachable, RateLimited or Refused for an answer that isn't a success."""
    status = exchange.status
    if 200 <= status < 300 or status in statuses.answers:
        return
    if status in statuses.refusals and (said := _error_body(exchange)).get("errcode"):
        raise Refused(status, said)
    if status in _GONE or status in statuses.failures:
        raise Unreachable(f"{destination} answered {status}")
    body = _error_body(exchange)
    if status == 429:
        raise RateLimited(body, _retry_after_ms(exchange.headers.get("retry-after", ""), body))
    raise Refused(status, body)


def _error_body(exchange: Exchange) -> Untrusted:
    """Return the JSON object of an error; empty if there is none."""
    try:
        value = canonical_json.loads(exchange.read(MAX_ERROR_BYTES))
    except (TransportError, NotJson):
        return {}
    return value if isinstance(value, dict) else {}


def _retry_after_ms(header: str, body: Untrusted) -> int:
    """Return how long a rate limit asks to wait, in milliseconds; one minute if it doesn't say."""
    if header.strip().isdecimal():
        return int(header.strip()[:9]) * 1000
    in_body = body.get("retry_after_ms")
    if isinstance(in_body, int) and not isinstance(in_body, bool) and in_body > 0:
        return in_body
    return 60_000
