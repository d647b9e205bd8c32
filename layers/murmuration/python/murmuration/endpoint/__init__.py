"""The edge: the only code that knows what API Gateway, SQS and Streams events look like.

An endpoint file decorates one function:

    @endpoint("PUT", "/_matrix/client/{version}/rooms/{roomId}/typing/{userId}", versions=("r0", "v3"))
    def handler(request: Request) -> Answer: ...

What must live here: routes, parsing of requests, authentication's dispatch, errors to status and JSON, CORS.
What must not: any decision about Matrix beyond that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from murmuration.endpoint.http import Handler, Response, endpoint
from murmuration.endpoint.request import Request
from murmuration.endpoint.routes import Auth, Http, Queue, Route, Schedule, Stream, WebSocket, is_wanted
from murmuration.protocol.encoding.shapes import JsonObject as Answer

if TYPE_CHECKING:
    from murmuration.endpoint.discovery import Function, discover, http_routes

CLIENT_VERSIONS = ("r0", "v3")
"""The versions of most client-server endpoints; a few have v1 too or instead."""

__all__ = [
    "CLIENT_VERSIONS",
    "Answer",
    "Auth",
    "Function",
    "Handler",
    "Http",
    "Queue",
    "Request",
    "Response",
    "Route",
    "Schedule",
    "Stream",
    "WebSocket",
    "discover",
    "endpoint",
    "http_routes",
    "is_wanted",
]


def __getattr__(name: str) -> Any:
    """Discovery is for those who deploy or serve all functions: a function doesn't import it."""
    if name in ("Function", "discover", "http_routes"):
        from murmuration.endpoint import discovery

        return getattr(discovery, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
