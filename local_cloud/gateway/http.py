"""CloudFront and the APIs in one: turns an HTTP request into an invocation, and its answer into an HTTP
response.

Limits and failures are API Gateway's: 431 for too many header bytes, 413 for a body over the gateway's or
Lambda's limit, 504 after the integration timeout, 502 for a function that fails or answers badly. The error
texts are those that the deployment gives to REST APIs. HTTP APIs have their own statuses and texts
(`http_api`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra_shared.gateway_answers import GATEWAY_ANSWERS
from local_cloud.config import Api, Limits
from local_cloud.gateway import http_api
from local_cloud.gateway.answers import PREFIXES, Answers
from local_cloud.gateway.events import HttpRequest, Response, header_bytes, http_event
from local_cloud.gateway.incoming import Incoming
from local_cloud.gateway.parking import Parking, is_internal
from local_cloud.gateway.routes import Match, Routes
from local_cloud.gateway.uploads import Uploads, authorizer_event, forwarded
from local_cloud.lambdas import Function, FunctionError, Lambdas
from murmuration.endpoint.discovery import stores_body
from murmuration.endpoint.http import CORS_HEADERS

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import LambdaEvent

log = logging.getLogger("local_cloud.gateway")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MakeEvent = Callable[[HttpRequest, Match, bytes, str], "LambdaEvent"]
"""Makes a function's event of a request, its route, its body and the viewer function's secret."""

_ANSWER_KEYS = frozenset(("statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"))

_REMAPPED = {
    name.lower(): f"x-amzn-remapped-{name}".encode()
    for name in ("authorization", "connection", "content-length", "content-md5", "date", "expect", "host",
                 "max-forwards", "proxy-authenticate", "server", "te", "trailer", "upgrade", "user-agent",
                 "www-authenticate")
}  # fmt: skip
"""Response headers that API Gateway renames.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
"""


class TooLarge(Exception):
    """The request's body is over the gateway's limit."""


class MalformedAnswer(Exception):
    """The function's answer isn't a Lambda proxy response. The message says why."""


class GatewayAnswer(Exception):
    """The gateway answers a request itself, with an answer of a kind (in GATEWAY_ANSWERS).

    The answer may have another `status`, and may `close` the connection. With `in_our_words` it has the text
    of a REST API even if the API is an HTTP API: CloudFront's viewer function refuses the request, or it is a
    large upload, which goes to a REST API.
    """

    def __init__(
        self, kind: str, *, status: int | None = None, close: bool = False, in_our_words: bool = False
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.status = status
        self.close = close
        self.in_our_words = in_our_words


@dataclass(frozen=True, slots=True)
class WithoutFunctions:
    """What answers requests without a function: parked waits, large answers, and two ways of uploading. None
    stands for a part that is lacking.
    """

    parking: Parking | None = None
    answers: Answers | None = None
    uploads: Uploads | None = None
    incoming: Incoming | None = None


class HttpGateway:
    """The ASGI application for HTTP requests."""

    def __init__(
        self,
        routes: Routes,
        lambdas: Lambdas,
        limits: Limits,
        viewer_secret: str,
        without_functions: WithoutFunctions | None = None,
        *,
        api: Api = "rest",
    ) -> None:
        self._routes = routes
        self._api = api
        self._beside = without_functions or WithoutFunctions()
        self._lambdas = lambdas
        self._limits = limits
        self._viewer_secret = viewer_secret

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            response = await self._response(request_of(scope), receive)
        except GatewayAnswer as answer:
            response = self._own_answer(answer)
        if response is not None:
            await _send(send, *response)

    async def _response(self, request: HttpRequest, receive: Receive) -> Response | None:
        """Return the response to a request; None if the client is gone. Raises GatewayAnswer."""
        beside = self._beside
        if beside.incoming is not None and (decided := beside.incoming.decide(request)) is not None:
            return await beside.incoming.answer(decided, receive)
        sent = forwarded(request)
        place = beside.parking.place(request) if beside.parking is not None else None
        # The viewer function answers, or sends elsewhere, requests that aren't for an HTTP API.
        elsewhere = place is not None or is_internal(request.path) or sent.path != request.path
        of_http_api = self._api == "http" and not elsewhere
        body = await self._body_of(request, receive, of_http_api=of_http_api)
        if body is None:
            return None
        if beside.parking is not None and place is not None:
            return await beside.parking.wait(place, body)
        if beside.answers is not None and request.path.startswith(PREFIXES):
            return await _in_thread(
                beside.answers.serve, request.method, request.path, request.query, _range(request)
            )
        if is_internal(request.path):
            raise GatewayAnswer("MISSING_AUTHENTICATION_TOKEN")
        if of_http_api:
            path = http_api.path_seen(request.path)
            return await self._by_function(request, path, body, http_api.http_event)
        return await self._by_function(sent, sent.path, body, http_event)

    async def _body_of(self, request: HttpRequest, receive: Receive, *, of_http_api: bool) -> bytes | None:
        """Return the whole body; None if the client is gone. Raises GatewayAnswer for too large a request."""
        refused = http_api.refusal(request) if of_http_api else None
        in_our_words = refused is not None or not of_http_api
        if refused == "DEFAULT_4XX" or header_bytes(request) > self._limits.header_bytes:
            raise GatewayAnswer("DEFAULT_4XX", status=431, in_our_words=in_our_words)
        try:
            body = await self._read_body(receive)
        except TooLarge:
            raise GatewayAnswer("REQUEST_TOO_LARGE", close=True, in_our_words=in_our_words) from None
        if refused and body is not None:
            raise GatewayAnswer(refused, close=True, in_our_words=True)
        return body

    async def _by_function(
        self, request: HttpRequest, path: str, body: bytes, make_event: MakeEvent
    ) -> Response:
        """Return the response of the function whose route has this path. Raises GatewayAnswer."""
        match = self._routes.match(path, request.method)
        if match is None or match.function is None:
            raise GatewayAnswer("MISSING_AUTHENTICATION_TOKEN")
        if stores_body(match.function.route):
            return await self._upload(request, match, match.function, body)
        event = make_event(request, match, body, self._viewer_secret)
        if len(body) > 4_000_000 and len(json.dumps(event)) > self._limits.lambda_payload_bytes:
            raise GatewayAnswer("REQUEST_TOO_LARGE")
        try:
            answer = await self._invoke(match.function, event)
        except FunctionError as error:
            raise GatewayAnswer("INTEGRATION_FAILURE") from error
        except TimeoutError as error:
            log.warning("function %s did not answer in time", match.function.name)
            raise GatewayAnswer("INTEGRATION_TIMEOUT") from error
        return self._proxied(match.function, answer)

    async def _upload(
        self, request: HttpRequest, match: Match, authorizer: Function, body: bytes
    ) -> Response:
        """Ask the route's authorizer, and have the bucket store the body. Raises GatewayAnswer."""
        if self._beside.uploads is None:
            raise GatewayAnswer("MISSING_AUTHENTICATION_TOKEN")
        event = authorizer_event(request, match, self._viewer_secret)
        try:
            granted = await self._invoke(authorizer, event)
        except (FunctionError, TimeoutError) as error:
            raise GatewayAnswer("DEFAULT_5XX", in_our_words=True) from error
        return await _in_thread(self._beside.uploads.store, granted, body)

    def _own_answer(self, wanted: GatewayAnswer) -> Response:
        status, answer = GATEWAY_ANSWERS[wanted.kind]
        if self._api == "http" and not wanted.in_our_words:
            status, answer = http_api.ANSWERS.get(wanted.kind, (status, answer))
        headers = [(name.lower().encode(), value.encode()) for name, value in CORS_HEADERS.items()]
        headers += [(b"content-type", b"application/json"), _request_id()]
        if wanted.close:
            headers.append((b"connection", b"close"))
        return wanted.status or status, headers, json.dumps(dict(answer)).encode()

    async def _read_body(self, receive: Receive) -> bytes | None:
        """Return the whole body; None if the client is gone.

        Raises TooLarge, but only after the client has sent all of it, or ten times the limit: most clients
        don't look at an answer while they send.
        """
        limit = self._limits.gateway_body_bytes
        chunks: list[bytes] = []
        size = 0
        while size <= 10 * limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            if chunk := message.get("body"):
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
            if not message.get("more_body"):
                break
        if size > limit:
            raise TooLarge
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _invoke(self, function: Function, event: LambdaEvent) -> Any:
        """Return the function's answer, from a thread. Raises FunctionError, TimeoutError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        timeout = self._limits.integration_timeout

        def settle(answer: object, error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)

        def run() -> None:
            answer, error = None, None
            try:
                answer = self._lambdas.invoke(function, event, timeout)
            except FunctionError as failure:
                error = failure
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, answer, error)

        self._lambdas.submit(run)
        timer = loop.call_later(timeout, settle, None, TimeoutError())
        try:
            return await future
        finally:
            timer.cancel()

    def _proxied(self, function: Function, answer: object) -> Response:
        """Return the response that a function's answer describes. Raises GatewayAnswer."""
        try:
            remapped = {} if self._api == "http" else _REMAPPED
            status, headers, body = response_of(answer, self._limits.lambda_payload_bytes, remapped)
        except MalformedAnswer as error:
            log.error("function %s gave no proper answer: %s", function.name, error)
            raise GatewayAnswer("INTEGRATION_FAILURE") from error
        return status, [*headers, _request_id(), (b"content-length", str(len(body)).encode())], body


async def _in_thread(call: Callable[..., Response], *args: object) -> Response:
    return await asyncio.get_running_loop().run_in_executor(None, call, *args)


def _request_id() -> tuple[bytes, bytes]:
    """Return the header with which API Gateway names a request."""
    return b"x-amzn-requestid", str(uuid.uuid4()).encode()


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    # the answer to HEAD has the body's length already
    if not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _range(request: HttpRequest) -> str:
    return next((value.decode("latin-1") for name, value in request.headers if name == b"range"), "")


def request_of(scope: Message) -> HttpRequest:
    """Return the request that an ASGI scope describes, with its path percent-encoded as sent."""
    client = scope.get("client")
    return HttpRequest(
        scope.get("method", "GET"),
        scope["raw_path"].decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        scope["headers"],
        client[0] if client else "127.0.0.1",
        f"HTTP/{scope['http_version']}",
    )


def response_of(answer: object, limit: int, remapped: Mapping[str, bytes] = _REMAPPED) -> Response:
    """Return the status, headers and body of a Lambda proxy response. Raises MalformedAnswer."""
    if not isinstance(answer, dict):
        raise MalformedAnswer(f"it is {type(answer).__name__}, not an object")
    if unknown := answer.keys() - _ANSWER_KEYS:
        raise MalformedAnswer(f"it has unknown fields {sorted(unknown)}")
    status = answer.get("statusCode")
    if isinstance(status, str) and status.isdecimal():
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        raise MalformedAnswer(f"its statusCode is {status!r}")
    text = answer.get("body")
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise MalformedAnswer(f"its body is {type(text).__name__}, not a string")
    if len(text) > limit // 8 and len(json.dumps(answer, ensure_ascii=False).encode()) > limit:
        raise MalformedAnswer(f"it is over {limit} bytes")
    if answer.get("isBase64Encoded"):
        try:
            body = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise MalformedAnswer(f"its body is not base64: {error}") from error
    else:
        body = text.encode("utf-8", "surrogatepass")
    return status, _response_headers(answer, remapped), body


def _response_headers(answer: dict[str, Any], remapped: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    multi = answer.get("multiValueHeaders") or {}
    single = answer.get("headers") or {}
    if not isinstance(multi, dict) or not isinstance(single, dict):
        raise MalformedAnswer("its headers are not an object")
    repeated = {name.lower() for name in multi}
    pairs = [(name, value) for name, value in single.items() if name.lower() not in repeated]
    pairs += [(name, value) for name, values in multi.items() for value in values]
    for name, value in pairs:
        encoded, lower = _header_value(name, value), name.lower()
        if lower != "transfer-encoding":
            headers.append((remapped.get(lower) or lower.encode("latin-1"), encoded))
    if not any(name.lower() == "content-type" for name, _ in pairs):
        headers.append((b"content-type", b"application/json"))
    return headers


def _header_value(name: str, value: object) -> bytes:
    """Return a header's value as it is sent. Raises MalformedAnswer."""
    if not isinstance(value, (str, int, float)):
        raise MalformedAnswer(f"its header {name} is {type(value).__name__}")
    try:
        encoded = str(value).encode("latin-1")
    except UnicodeEncodeError as error:
        raise MalformedAnswer(f"its header {name} is not Latin-1") from error
    if b"\n" in encoded or b"\r" in encoded:
        raise MalformedAnswer(f"its header {name} has a line break")
    return encoded
