"""A client that calls the functions directly, with proxy events made from HTTP requests.

An answer over Lambda's limit fails. A redirect to a stored answer is followed, as HTTP clients do.

It is faster than a server. What API Gateway changes in a request is tested by `local_cloud`'s tests. Each
answer is checked against the specification's OpenAPI files if those are available (`tests.openapi`).
"""

from __future__ import annotations

import base64
import functools
import gzip
import itertools
import json
import os
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qs, quote, unquote, urlencode

from local_cloud.config import Limits
from local_cloud.gateway.answers import PREFIXES, Answers
from local_cloud.gateway.http import response_of
from local_cloud.gateway.routes import Routes
from local_cloud.permissions import acting_for, module_of
from murmuration.aws import objects
from murmuration.endpoint import Function, discover, http_routes
from murmuration.endpoint.sent import URI_HEADER
from murmuration.settings import settings
from tests import openapi

_LIMIT = Limits().lambda_payload_bytes


@dataclass(frozen=True)
class Answer:
    """A function's answer, decompressed; `json` is the parsed body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


_numbers = itertools.count(1)


@functools.cache
def _address_of(test: str) -> str:
    """Return a test's own network address: no test takes from the limits of another's address."""
    number = next(_numbers) % 65_536
    return f"198.18.{number >> 8}.{number & 255}"


def _own_address() -> str:
    """Return the address of the test that runs."""
    return _address_of(os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0])


@functools.cache
def _routes() -> Routes:
    return Routes(http_routes(discover()))


def _find(method: str, path: str) -> tuple[Function, str, dict[str, str]]:
    """Return the function that serves a request, the path of its route, its path parameters. Raises
    LookupError.
    """
    match = _routes().match(path, method)
    if match is None or match.function is None:
        raise LookupError(f"no function serves {method} {path}")
    return cast(Function, match.function), match.resource.path, match.parameters or {}


@dataclass
class Client:
    """Calls endpoints, with `token` where there is one, from the address `source_ip`."""

    token: str | None = None
    user_id: str = ""
    device_id: str = ""
    source_ip: str = field(default_factory=_own_address)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        """Send a request; `path` is already percent-encoded, `body` is bytes or any JSON value."""
        path, _, inline = path.partition("?")
        values = {name: [str(value)] for name, value in query.items() if value is not None}
        values = parse_qs(inline, keep_blank_values=True) | values
        function, resource, params = _find(method, path)
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        event = {
            "resource": resource,
            "path": path,
            "httpMethod": method,
            "headers": sent,
            "multiValueHeaders": {name: [value] for name, value in sent.items()},
            "queryStringParameters": {name: found[-1] for name, found in values.items()} or None,
            "multiValueQueryStringParameters": values or None,
            "pathParameters": params or None,
            "stageVariables": None,
            "requestContext": {
                "requestId": "00000000-0000-4000-8000-000000000000",
                "stage": "test",
                "identity": {"sourceIp": self.source_ip, "userAgent": "test"},
            },
            "body": base64.b64encode(raw).decode() if raw else None,
            "isBase64Encoded": bool(raw),
        }
        if settings().api == "http":
            event = _of_http_api(event, f"{path}?{urlencode(values, doseq=True)}" if values else path)
        with acting_for(module_of(function.handler)):
            answer = function.handler(event, None)
        _, _, content = response_of(answer, _LIMIT)
        status, headers = answer["statusCode"], dict(answer["headers"])
        if headers.get("Location", "").startswith(PREFIXES):
            status, found, content = _stored(method, headers["Location"])
            headers |= {name.decode().title(): value.decode() for name, value in found}
        if headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        uri = f"{path}?{urlencode(values, doseq=True)}"
        openapi.check(openapi.Exchange(method, uri, raw, status, headers, content), request=False)
        return Answer(status, headers, content)

    def get(self, path: str, **query: Any) -> Answer:
        return self.request("GET", path, **query)

    def post(self, path: str, body: Any = None, **query: Any) -> Answer:
        return self.request("POST", path, {} if body is None else body, **query)

    def put(self, path: str, body: Any = None, **query: Any) -> Answer:
        return self.request("PUT", path, {} if body is None else body, **query)

    def delete(self, path: str, body: Any = None, **query: Any) -> Answer:
        return self.request("DELETE", path, body, **query)


def _of_http_api(event: dict[str, Any], uri: str) -> dict[str, Any]:
    """Return the event as an HTTP API makes it: with decoded parameters, and the URI in
    CloudFront's header.
    """
    parameters = {name: unquote(value) for name, value in (event["pathParameters"] or {}).items()}
    headers = {name.lower(): value for name, value in event["headers"].items()} | {URI_HEADER: uri}
    return {**event, "version": "1.0", "pathParameters": parameters or None, "headers": headers}


def _stored(method: str, location: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return the bucket's response to a signed path."""
    path, _, query = location.partition("?")
    get_object = cast(Any, _Bucket())
    return Answers(get_object, settings().media_bucket).serve(
        "HEAD" if method == "HEAD" else "GET", path, query
    )


class _Bucket:
    """The part of the bucket that `Answers` uses, with the objects of the test's own S3."""

    def get_object(self, params: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = objects.client().get_object(**params)
        return found


def segment(text: str) -> str:
    """Return `text` as one percent-encoded path segment."""
    return quote(text, safe="")
