"""The differences between an HTTP API and a REST API; the viewer function prepares requests for it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local_cloud.gateway import events
from local_cloud.gateway.events import HttpRequest
from local_cloud.gateway.routes import Match
from local_cloud.names import HTTP_API_ID, domain

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import LambdaEvent

TYPE_HEADER = "x-murmuration-content-type"
BINARY = "application/octet-stream"
STAGE = "$default"
ANSWERS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "DEFAULT_4XX": (400, {"message": "Bad Request"}),
    "REQUEST_TOO_LARGE": (413, {"message": "Request Entity Too Large"}),
    "INTEGRATION_FAILURE": (500, {"message": "Internal Server Error"}),
    "INTEGRATION_TIMEOUT": (503, {"message": "Service Unavailable"}),
}
"""The answers that it gives by itself, which can't be changed. CloudFront adds the CORS headers."""
TEXT_TYPES = ("text/", "application/json", "application/javascript", "application/xml")
"""The bodies that a function gets as text; all others as base64.

https://aws.amazon.com/blogs/compute/handling-binary-data-using-amazon-api-gateway-http-apis/
"""


MOST_HEADER_BYTES = 9_700
"""How long the URI and headers may be for the viewer function; CloudFront adds some bytes."""
MOST_BODY_BYTES = 4_600_000


def refusal(request: HttpRequest) -> str | None:
    """Return the kind of answer (in GATEWAY_ANSWERS) with which the viewer function refuses a too large
    request.

    None if the request isn't too large.
    """
    lengths = [value for name, value in request.headers if name == b"content-length"]
    if lengths and lengths[-1].isdigit() and int(lengths[-1]) > MOST_BODY_BYTES:
        return "REQUEST_TOO_LARGE"
    return "DEFAULT_4XX" if header_bytes(request) > MOST_HEADER_BYTES else None


def path_seen(path: str) -> str:
    """Return the path by which a route is found: as sent, without a slash at its end.

    The viewer function writes each `%` as `%25` and removes the slash; the API decodes the path once.
    """
    prepared = path.replace("%", "%25")
    if len(prepared) > 1 and prepared.endswith("/"):
        prepared = prepared[:-1]
    return unquote(prepared, errors="replace")


def header_bytes(request: HttpRequest) -> int:
    """Return the bytes that count against the API's limit, with the headers that the viewer function adds."""
    types = sum(len(value) for name, value in request.headers if name == b"content-type")
    more = len(TYPE_HEADER) + len(BINARY) if types else 0
    return events.header_bytes(request) + 2 * request.path.count("%") + types + more


def http_event(request: HttpRequest, match: Match, body: bytes, viewer_secret: str) -> LambdaEvent:
    """Return the event in format 1.0. As in an HTTP API, its parameters are decoded.

    If a client wrote a `%` as `%25` itself, they are decoded twice.
    """
    event = dict(events.http_event(_with_types(request), match, body, viewer_secret))
    path = path_seen(request.path)
    context = {**event["requestContext"], "path": path, "resourceId": None, "stage": STAGE}
    context |= {"apiId": HTTP_API_ID, "domainPrefix": HTTP_API_ID, "domainName": domain(HTTP_API_ID)}
    parameters = {name: unquote(value) for name, value in (match.parameters or {}).items()}
    event |= {
        "version": "1.0",
        "path": path,
        "requestContext": context,
        "pathParameters": parameters or None,
        "headers": {name.lower(): value for name, value in event["headers"].items()},
        "multiValueHeaders": {name.lower(): value for name, value in event["multiValueHeaders"].items()},
    }
    sent_type = event["headers"].get("content-type", BINARY)
    if body and sent_type.startswith(TEXT_TYPES):
        event |= {"body": body.decode("utf-8", "replace"), "isBase64Encoded": False}
    elif body:
        event |= {"body": base64.b64encode(body).decode("ascii"), "isBase64Encoded": True}
    return event


def _with_types(request: HttpRequest) -> HttpRequest:
    """Return the request with the content type in the viewer function's header."""
    theirs = TYPE_HEADER.encode()
    types = [(theirs, value) for name, value in request.headers if name == b"content-type"]
    binary = [(b"content-type", BINARY.encode())] if request.method not in ("GET", "HEAD") else []
    rest = [
        (name, value)
        for name, value in request.headers
        if name != theirs and (name != b"content-type" or not binary)
    ]
    return request._replace(headers=[*rest, *types[-1:], *binary])
