"""The events that API Gateway passes to functions, built from the requests as they arrived.

https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html
"""

from __future__ import annotations

import base64
import re
import secrets
import time
import uuid
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_plus

from local_cloud.gateway.clock import Clock
from local_cloud.gateway.routes import Match
from local_cloud.names import ACCOUNT, EDGE_ADDRESS, REST_API_ID, STAGE, WEBSOCKET_API_ID, domain

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import LambdaEvent

URI_HEADER = "x-murmuration-uri"
SECRET_HEADER = "x-murmuration-viewer-secret"  # noqa: S105 - a header's name

_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", re.ASCII)
_REST_DOMAIN = domain(REST_API_ID)
_WEBSOCKET_DOMAIN = domain(WEBSOCKET_API_ID)
_clock = Clock()
_DROPPED = frozenset(
    (b"host", b"connection", b"transfer-encoding", b"keep-alive", b"upgrade", b"te", b"trailer", b"expect",
     b"proxy-connection", b"x-forwarded-for", b"x-forwarded-port", b"x-forwarded-proto", b"via",
     b"x-amz-cf-id", b"x-amzn-trace-id", b"content-length", URI_HEADER.encode(), SECRET_HEADER.encode())
)  # fmt: skip


Response = tuple[int, list[tuple[bytes, bytes]], bytes]
"""A status, headers, and a body."""


class HttpRequest(NamedTuple):
    """A request as it arrived: raw bytes, header names in lower case."""

    method: str
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    client: str
    protocol: str


@lru_cache(maxsize=1024)
def _header_name(raw: bytes) -> str:
    return "-".join(part.capitalize() for part in raw.decode("latin-1").split("-"))


def headers_of(
    request: HttpRequest, viewer_secret: str, host: str
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return `headers` and `multiValueHeaders`: those of the client, CloudFront, its function and API
    Gateway.

    The client's address is the last but one of X-Forwarded-For; earlier addresses come from the client
    itself.
    """
    every: dict[str, list[str]] = {}
    forwarded = request.client
    for raw, value in request.headers:
        if raw not in _DROPPED:
            every.setdefault(_header_name(raw), []).append(value.decode("latin-1"))
        elif raw == b"x-forwarded-for":
            forwarded = f"{value.decode('latin-1')}, {request.client}"
    every["Host"] = [host]
    every["X-Forwarded-For"] = [f"{forwarded}, {EDGE_ADDRESS}"]
    every["X-Forwarded-Port"] = ["443"]
    every["X-Forwarded-Proto"] = ["https"]
    every["Via"] = ["1.1 local.cloudfront.net (CloudFront)"]
    every["X-Amzn-Trace-Id"] = [f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"]
    every[SECRET_HEADER] = [viewer_secret]
    if needs_uri_header(request):
        every[URI_HEADER] = [f"{request.path}?{request.query}" if request.query else request.path]
    return {name: values[-1] for name, values in every.items()}, every


def needs_uri_header(request: HttpRequest) -> bool:
    """Return whether the viewer function passes the URI in a header, because it might be rewritten on the
    way.
    """
    return bool(request.query) or _PLAIN_PATH.fullmatch(request.path) is None


def header_bytes(request: HttpRequest) -> int:
    """Return the bytes that count against API Gateway's limit: the request line and all headers, with the
    URI's.
    """
    line = len(request.path) + len(request.query)
    headers = sum(len(name) + len(value) for name, value in request.headers)
    return (2 if needs_uri_header(request) else 1) * line + len(request.method) + headers


def query_of(query: str) -> tuple[dict[str, str] | None, dict[str, list[str]] | None]:
    """Return `queryStringParameters` and `multiValueQueryStringParameters`: decoded, grouped by name."""
    if not query:
        return None, None
    every: dict[str, list[str]] = {}
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            every.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return {name: values[-1] for name, values in every.items()}, every


@lru_cache(maxsize=4)
def _clf_time(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


def http_event(request: HttpRequest, match: Match, body: bytes, viewer_secret: str) -> LambdaEvent:
    """Return the REST API's Lambda proxy event. Every body is base64: the API's binary media types
    are */*.
    """
    headers, multi_headers = headers_of(request, viewer_secret, _REST_DOMAIN)
    query, multi_query = query_of(request.query)
    now_ms = _clock.tell()
    return {
        "resource": match.resource.path,
        "path": request.path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": multi_headers,
        "queryStringParameters": query,
        "multiValueQueryStringParameters": multi_query,
        "pathParameters": match.parameters,
        "stageVariables": None,
        "requestContext": {
            "resourceId": match.resource.id,
            "resourcePath": match.resource.path,
            "httpMethod": request.method,
            "extendedRequestId": secrets.token_urlsafe(11) + "=",
            "requestTime": _clf_time(now_ms // 1000),
            "path": f"/{STAGE}{request.path}",
            "accountId": ACCOUNT,
            "protocol": request.protocol,
            "stage": STAGE,
            "domainPrefix": REST_API_ID,
            "requestTimeEpoch": now_ms,
            "requestId": str(uuid.uuid4()),
            "identity": {
                "cognitoIdentityPoolId": None,
                "accountId": None,
                "cognitoIdentityId": None,
                "caller": None,
                "sourceIp": EDGE_ADDRESS,
                "principalOrgId": None,
                "accessKey": None,
                "cognitoAuthenticationType": None,
                "cognitoAuthenticationProvider": None,
                "userArn": None,
                "userAgent": headers.get("User-Agent"),
                "user": None,
            },
            "domainName": _REST_DOMAIN,
            "deploymentId": "local0",
            "apiId": REST_API_ID,
        },
        "body": base64.b64encode(body).decode("ascii") if body else None,
        "isBase64Encoded": bool(body),
    }


def websocket_context(
    request: HttpRequest, connection_id: str, connected_at: int, route: str, kind: str, **fields: Any
) -> dict[str, Any]:
    """Return the `requestContext` of a WebSocket API's event; `kind` is CONNECT, MESSAGE or DISCONNECT."""
    now = time.time()
    user_agent = next(
        (value.decode("latin-1") for name, value in request.headers if name == b"user-agent"), None
    )
    request_id = secrets.token_urlsafe(11) + "="
    return {
        "routeKey": route,
        "eventType": kind,
        "extendedRequestId": request_id,
        "requestTime": _clf_time(int(now)),
        "messageDirection": "IN",
        "stage": STAGE,
        "connectedAt": connected_at,
        "requestTimeEpoch": int(now * 1000),
        "identity": {"userAgent": user_agent, "sourceIp": EDGE_ADDRESS},
        "requestId": request_id,
        "domainName": _WEBSOCKET_DOMAIN,
        "connectionId": connection_id,
        "apiId": WEBSOCKET_API_ID,
        **fields,
    }


def connect_event(request: HttpRequest, context: dict[str, Any], viewer_secret: str) -> LambdaEvent:
    headers, multi_headers = headers_of(request, viewer_secret, _WEBSOCKET_DOMAIN)
    event = {
        "headers": headers,
        "multiValueHeaders": multi_headers,
        "requestContext": context,
        "isBase64Encoded": False,
    }
    query, multi_query = query_of(request.query)
    if query is not None:
        event["queryStringParameters"] = query
        event["multiValueQueryStringParameters"] = multi_query
    return event


def message_event(context: dict[str, Any], message: str | bytes) -> LambdaEvent:
    if isinstance(message, bytes):
        return {
            "requestContext": context,
            "body": base64.b64encode(message).decode("ascii"),
            "isBase64Encoded": True,
        }
    return {"requestContext": context, "body": message, "isBase64Encoded": False}


def disconnect_event(context: dict[str, Any]) -> LambdaEvent:
    headers = {"Host": _WEBSOCKET_DOMAIN, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""}
    return {
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "requestContext": context,
        "isBase64Encoded": False,
    }
