"""The answers to HEAD, and to methods that no endpoint serves: client API v1 wants helpful errors for some.

A path's GET function gets all methods that no other function has, so that it can answer HEAD. Other paths
have the fallback function for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from murmuration.endpoint.billing import charge_address
from murmuration.endpoint.routes import Auth, Http
from murmuration.protocol.errors import MethodNotAllowed, Unrecognized
from murmuration.protocol.push_rules.paths import check_path

if TYPE_CHECKING:
    from murmuration.endpoint.request import Request
    from murmuration.endpoint.shapes import ProxyResponse
    from murmuration.protocol.encoding.shapes import Answer

ANYWHERE = "/{proxy+}"
"""The resource of paths that no function has."""

PREFIX = "/_matrix/client/api/v1/"
ONCE = ("createRoom", "join", "send", "redact", "invite", "leave", "kick", "ban", "unban")
"""What may be asked for once, with a transaction ID; in rooms or besides."""


def answer_other(request: Request) -> Answer:
    """Answer a request with a method that the path doesn't have: a preflight.

    Its address pays for it. Raises LimitExceeded, MalformedPath, Unrecognized, MethodNotAllowed.
    """
    charge_address(request, Http(request.method, request.path, Auth.NONE))
    if request.method == "OPTIONS":
        return {}
    check_path(request.method, request.path)
    advice = explain(request.method, request.path, request.resource)
    if request.resource == ANYWHERE:
        raise Unrecognized(advice or "There is no such endpoint")
    raise MethodNotAllowed(advice or "This endpoint has no such method")


def head_response(answer: Any) -> ProxyResponse:
    """Return the response to HEAD for what GET would be answered with: all of it without the body."""
    from murmuration.endpoint.http import CORS_HEADERS, Response

    response = answer if isinstance(answer, Response) else Response(answer)
    headers = {**CORS_HEADERS, **response.headers}
    if not isinstance(response.body, bytes):
        headers.setdefault("Content-Type", "application/json")
    return {"statusCode": response.status, "headers": headers, "body": "", "isBase64Encoded": False}


def explain(method: str, path: str, resource: str) -> str | None:
    """Return a sentence that says what to do instead of a request that no endpoint serves; None if there is
    none.

    `resource` is the route that the path belongs to, ANYWHERE for none.
    """
    if not path.startswith(PREFIX):
        return None
    parts = path.removeprefix(PREFIX).strip("/").split("/")
    if parts[0] == "rooms" and len(parts) > 3 and parts[2] == "state":
        if method == "POST":
            return "State can't be set by POST: use PUT"
        if method == "PUT" and len(parts) > 5:
            return "State has no transaction IDs: the path ends with the state key"
        return None
    if method == "POST" and resource.endswith("/{txnId}"):
        return "A POST has no transaction ID: leave it out of the path, or use PUT"
    action = parts[2] if parts[0] == "rooms" and len(parts) > 2 else parts[0]
    if method == "PUT" and action in ONCE and resource != ANYWHERE and not resource.endswith("/{txnId}"):
        return "A PUT needs a transaction ID at the end of its path; without one, use POST"
    return None
