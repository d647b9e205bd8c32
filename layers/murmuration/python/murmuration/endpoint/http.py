"""HTTP endpoints: a function that takes a `Request` becomes a Lambda that answers with a proxy response."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from murmuration.endpoint.billing import add_answer, billing, charge_address
from murmuration.endpoint.metrics import request_metrics
from murmuration.endpoint.ports import connect_ports
from murmuration.endpoint.request import Request
from murmuration.endpoint.routes import Auth, Http
from murmuration.protocol.errors import MatrixError, MethodNotAllowed, Unrecognized
from murmuration.protocol.sizes import JsonText, encode
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.endpoint.shapes import AuthorizerAnswer, ProxyResponse
    from murmuration.protocol.encoding.shapes import Answer, LambdaEvent

CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
    "Access-Control-Expose-Headers": "Retry-After",
}
"""Sent with every response. https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients"""

SMALLEST_COMPRESSED = 1_024
"""JSON of fewer characters isn't compressed, because that saves little."""
LARGE_CHARACTERS = 1_400_000
"""The length of JSON that fits into a function's 6 MB in any case, as UTF-8 and with its quotes escaped."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer whose status isn't 200, or whose body isn't JSON. `bytes` are sent unchanged."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Handler:
    """A Lambda entry point around an endpoint's function, with the route that it serves."""

    def __init__(self, function: Callable[[Request], Any], route: Http) -> None:
        self.function = function
        self.route = route
        self.__doc__ = function.__doc__

    def __call__(self, event: LambdaEvent, context: Any = None) -> ProxyResponse | AuthorizerAnswer:
        connect_ports()
        request = Request(event, context)
        with request_metrics(event) as measured:
            with billing(request, self.route), _refusing(self.route):
                response = self._respond(request)
            measured.update(response)
        if self.route.stores_body:
            from murmuration.endpoint.uploads import of_gateway

            return of_gateway(event, response)
        return response

    def _respond(self, request: Request) -> ProxyResponse:
        try:
            answer = self._answer(request)
        except MatrixError as error:
            for_people = self.route.for_people and "text/html" in request.headers.get("accept", "")
            answer = error_response(error, as_page=for_people)
        except Exception:  # noqa: BLE001 - the last line of defence: nothing leaks, the log tells
            answer = _unexpected(request.event, request.context)
        response = self._proxy_response(request, answer)
        add_answer(response)
        return response

    def _answer(self, request: Request) -> Any:
        if not self.route.serves(request.method, request.event.get("resource") or ""):
            return answer_other(request)
        # The fallback serves paths of other routes too: it has no versions of its own.
        version = (request.event.get("pathParameters") or {}).get("version")
        if version is not None and self.route.versions and version not in self.route.versions:
            raise Unrecognized(f"Version {version} of this endpoint is not supported")
        if self.route.is_for_servers and not settings().federation:
            raise Unrecognized("This server does not federate")
        if self.route.auth is Auth.SERVER:
            request.authenticate_server()
        else:
            request.authenticate(self.route.auth)
        charge_address(request, self.route)
        return self.function(request)

    def _proxy_response(self, request: Request, answer: object) -> ProxyResponse:
        if request.method == "HEAD":
            return _head_response(answer)
        compressible, reads = request.accepts_gzip, request.method == "GET"
        try:
            return proxy_response(answer, compressible=compressible, reads=reads)
        except Exception:  # noqa: BLE001 - a large answer couldn't be stored
            return proxy_response(_unexpected(request.event, request.context))


def _refusing(route: Http) -> AbstractContextManager[None]:
    """Refuse suspended users if the route says so. This applies wherever the token is verified."""
    if not route.refuses_suspended:
        return nullcontext()
    from murmuration.identity.moderation import refusing_suspended

    return refusing_suspended()


def error_response(error: MatrixError, *, as_page: bool = False) -> Response:
    """Return the standard error response of `error`, or with `as_page` an HTML page."""
    if as_page:
        from murmuration.pages import error_page

        page = error_page(error)
        return Response(page.body, page.status, page.headers)
    headers = {}
    if error.status == 429 and isinstance(retry_after_ms := error.fields.get("retry_after_ms"), int):
        headers["Retry-After"] = str(-(-retry_after_ms // 1000))
    return Response(error.body(), error.status, headers)


def _unexpected(event: LambdaEvent, context: Any) -> Response:
    from murmuration.endpoint.logging import log_unexpected

    log_unexpected(event, context)
    return Response({"errcode": "M_UNKNOWN", "error": "Internal server error"}, 500)


def proxy_response(answer: object, *, compressible: bool = False, reads: bool = True) -> ProxyResponse:
    """Return API Gateway's proxy response for a handler's answer: a Response, or the value of a JSON body.

    JSON over a function's 6 MB is sent compressed if it's `compressible`. If it is too large even then, it is
    stored, and the client is redirected to it (`large_answers`): with 307 if the request only `reads`, else
    with 303. An HTTP API doesn't compress, so behind one smaller answers are compressed too.
    """
    response = answer if isinstance(answer, Response) else Response(answer)
    headers = {**CORS_HEADERS, **response.headers}
    if isinstance(response.body, bytes):
        body = base64.b64encode(response.body).decode()
        return {"statusCode": response.status, "headers": headers, "body": body, "isBase64Encoded": True}
    headers.setdefault("Content-Type", "application/json")
    if isinstance(response.body, JsonText):
        return _large_response(response, response.body.pieces, headers, compressible, reads)
    body = "".join(encode(response.body))
    if len(body) > (LARGE_CHARACTERS if settings().api == "rest" else SMALLEST_COMPRESSED):
        return _large_response(response, [body], headers, compressible, reads)
    return {"statusCode": response.status, "headers": headers, "body": body, "isBase64Encoded": False}


def _large_response(
    response: Response, pieces: Iterable[str], headers: dict[str, str], compressible: bool, reads: bool
) -> ProxyResponse:
    from murmuration.endpoint.large_answers import fit

    smallest = None if settings().api == "rest" else SMALLEST_COMPRESSED
    large, status = fit(pieces, compressible=compressible, smallest=smallest), response.status
    if large.compressed:
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    if large.location:
        status = 307 if reads else 303
        headers |= {"Location": large.location, "Cache-Control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": large.body, "isBase64Encoded": large.encoded}


# -- HEAD, and methods that no endpoint serves ------------------------------------------------------------

# A path's GET function gets all methods that no other function has, so that it can answer HEAD. Other paths
# have the fallback function for them.
ANYWHERE = "/{proxy+}"
"""The resource of paths that no function has."""

PREFIX = "/_matrix/client/api/v1/"
ONCE = ("createRoom", "join", "send", "redact", "invite", "leave", "kick", "ban", "unban")
"""The last parts of paths that take a transaction ID, in rooms or elsewhere."""


def answer_other(request: Request) -> Answer:
    """Answer a preflight. Raise an error for any other request with a method that the path doesn't have.

    It takes from the address's budget. Raises LimitExceeded, MalformedPath, Unrecognized, MethodNotAllowed.
    """
    charge_address(request, Http(request.method, request.path, Auth.NONE))
    if request.method == "OPTIONS":
        return {}
    from murmuration.protocol.push_rules.paths import check_path

    check_path(request.method, request.path)
    advice = explain(request.method, request.path, request.resource)
    if request.resource == ANYWHERE:
        raise Unrecognized(advice or "There is no such endpoint")
    raise MethodNotAllowed(advice or "This endpoint has no such method")


def _head_response(answer: Any) -> ProxyResponse:
    """Return the response to HEAD: the response that GET would get, without the body."""
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


# -- The decorator ----------------------------------------------------------------------------------------


def endpoint(
    method: str,
    path: str,
    *,
    auth: Auth = Auth.ACCESS_TOKEN,
    versions: tuple[str, ...] = (),
    also: tuple[str, ...] = (),
    for_people: bool = False,
    refuses_suspended: bool = False,
    stores_body: bool = False,
) -> Callable[[Callable[[Request], Any]], Handler]:
    """Make a function the Lambda for `method` and `path` (API Gateway's syntax).

    `also` are older paths of it; one with another method has that in front: `PUT /path`. With `for_people`,
    browsers get errors as pages. With `refuses_suspended`, suspended users are refused. `stores_body`: see
    `uploads`.
    """
    given = (one.rpartition(" ") for one in also)
    older = tuple((other or method, where) for other, _, where in given)

    def decorate(function: Callable[[Request], Any]) -> Handler:
        return Handler(
            function, Http(method, path, auth, versions, older, for_people, refuses_suspended, stores_body)
        )

    return decorate
