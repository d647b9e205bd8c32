"""The edge: the only code that knows what API Gateway, SQS and Streams events look like.

An endpoint file decorates one function:

    @endpoint("PUT", "/_matrix/client/{version}/rooms/{roomId}/typing/{userId}", versions=("r0", "v3"))
    def handler(request: Request) -> Answer: ...

This package has routes, the parsing of requests, the choice of authentication, the translation of errors into
status and JSON, and CORS. Any other decision about Matrix belongs into a domain.
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
"""The versions of most client-server endpoints; a few also have v1, or only v1."""

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
    """Import `discovery` on first use: only deploying and serving need it, not a function."""
    if name in ("Function", "discover", "http_routes"):
        from murmuration.endpoint import discovery

        return getattr(discovery, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
