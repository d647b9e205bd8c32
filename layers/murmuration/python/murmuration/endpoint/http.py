"""HTTP endpoints: API Gateway's REST proxy event in, its proxy response out."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote

from murmuration.clock import now_ms
from murmuration.endpoint.billing import add_answer, billing, charge_address, charge_server
from murmuration.endpoint.metrics import request_metrics
from murmuration.endpoint.ports import connect_ports
from murmuration.endpoint.routes import Auth, Http
from murmuration.endpoint.sent import URI_HEADER, headers_of, path_parameters, query_of
from murmuration.protocol.bodies import Fields, parse_json
from murmuration.protocol.encoding.canonical_json import MAX_INTEGER
from murmuration.protocol.errors import (
    BadJson,
    InvalidParam,
    MatrixError,
    MissingParam,
    MissingToken,
    NotFound,
    TooLarge,
    Unauthorized,
    Unrecognized,
)
from murmuration.protocol.sizes import JsonText, encode
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.endpoint.shapes import AuthorizerAnswer, PathParams, ProxyResponse
    from murmuration.identity.tokens import AccessToken, Requester
    from murmuration.protocol.encoding.shapes import LambdaEvent
    from murmuration.protocol.identifiers import ServerName

T = TypeVar("T")

VIEWER_SECRET_HEADER = "x-murmuration-viewer-secret"  # noqa: S105 - a header's name
CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
    "Access-Control-Expose-Headers": "Retry-After",
}
"""Sent with every response. https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients"""

MAX_PARAMETER_BYTES = 900
"""How long a path parameter may be at all: it must fit into a key. Identifiers have 255 bytes."""

SMALLEST_COMPRESSED = 1_024
"""JSON of fewer characters is not compressed, as that gains little."""
LARGE_CHARACTERS = 1_400_000
"""How long JSON may be that certainly fits into a function's 6 MB, in UTF-8 and with its quotes escaped."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer other than 200 with a JSON object; a `bytes` body is sent as it is."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Request:
    """A request, read lazily from the proxy event.

    Path parameters are percent-decoded once, as the client meant them; `query` holds each parameter's last
    value, decoded by the gateway.
    """

    def __init__(self, event: LambdaEvent, context: Any = None) -> None:
        self.event = event
        self.context = context
        self._requester: Requester | None = None
        self._origin: ServerName | None = None
        self._content: Any = None

    @property
    def method(self) -> str:
        return str(self.event["httpMethod"])

    @property
    def path(self) -> str:
        """The path as it was sent, percent-encoding kept."""
        return str(self.event["path"])

    @property
    def is_unstable(self) -> bool:
        """Whether the client uses the name that an endpoint has while it is proposed."""
        return self.path.startswith("/_matrix/client/unstable/")

    @property
    def resource(self) -> str:
        """The path of the route that the gateway chose, in API Gateway's syntax."""
        return str(self.event["resource"])

    @cached_property
    def params(self) -> PathParams:
        """The path parameters. Raises InvalidParam where one isn't UTF-8, NotFound, TooLarge."""
        try:
            raw = path_parameters(self.event, self.headers.get(URI_HEADER))
            found = {name: unquote(value, errors="strict") for name, value in raw.items()}
        except UnicodeDecodeError as error:
            raise InvalidParam("The path is not UTF-8 after percent-decoding") from error
        for name, value in found.items():
            if len(value.encode()) > MAX_PARAMETER_BYTES:
                long = NotFound if self.method in ("GET", "HEAD") else TooLarge
                raise long(f"{name} has more than {MAX_PARAMETER_BYTES} bytes")
        return cast("PathParams", found)

    @cached_property
    def query(self) -> dict[str, str]:
        return query_of(self.event)

    def query_as(self, kind: Callable[[str], T], name: str) -> T | None:
        """Return a query parameter that is meant as an identifier of this kind; None if it's absent."""
        value = self.query.get(name)
        return None if value is None else kind(value)

    def query_all(self, name: str) -> list[str]:
        """Return each value of the query parameter `name`, in the order sent."""
        return list(self.query_values.get(name) or ())

    @property
    def query_values(self) -> Mapping[str, Sequence[str]]:
        """All values of each query parameter, empty ones too."""
        return self.event.get("multiValueQueryStringParameters") or {}

    def query_required(self, name: str) -> str:
        """Return the value of a query parameter that must be there. Raises MissingParam."""
        value = self.query.get(name)
        if not value:
            raise MissingParam(f"The query parameter {name} is missing")
        return value

    def query_int(self, name: str, default: int, *, low: int = 0, high: int = MAX_INTEGER) -> int:
        """Return a whole number from the query, at least `low` and cut to `high`. Raises InvalidParam."""
        text = self.query.get(name)
        if text is None:
            return default
        try:
            number = int(text)
        except ValueError as error:
            raise InvalidParam(f"{name} must be a whole number, not {text[:40]!r}") from error
        if number < low:
            raise InvalidParam(f"{name} must be at least {low}")
        return min(number, high)

    def query_bool(self, name: str, default: bool = False) -> bool:
        """Return `true` or `false` from the query as a bool. Raises InvalidParam."""
        text = self.query.get(name)
        if text is None:
            return default
        if text not in ("true", "false"):
            raise InvalidParam(f"{name} must be true or false, not {text[:40]!r}")
        return text == "true"

    def query_choice(self, name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        """Return one of `allowed` from the query. Raises MissingParam without a default, InvalidParam."""
        text = self.query.get(name, default)
        if text is None:
            raise MissingParam(f"The query parameter {name} is missing")
        if text not in allowed:
            raise InvalidParam(f"{name} must be one of {', '.join(allowed)}")
        return text

    @cached_property
    def headers(self) -> dict[str, str]:
        """Header values by lower-case name, the content type as it was sent."""
        return headers_of(self.event)

    @property
    def accepts_gzip(self) -> bool:
        """Whether the client says that it takes a compressed answer."""
        for offer in self.headers.get("accept-encoding", "").lower().split(","):
            coding, _, weight = offer.replace(" ", "").partition(";q=")
            if coding == "gzip":
                return not weight or bool(weight.strip("0."))
        return False

    @property
    def received_ms(self) -> int:
        """When the request reached the gateway, by its clock."""
        at = self.event["requestContext"].get("requestTimeEpoch")
        return int(at) if at is not None else now_ms()

    @property
    def source_ip(self) -> str:
        """The client's address: as CloudFront tells it, for a request that shows it came through there."""
        hops = [hop.strip() for hop in self.headers.get("x-forwarded-for", "").split(",")]
        if len(hops) > 1 and self._came_through_viewer():
            return hops[-2]
        return str(self.event["requestContext"]["identity"]["sourceIp"])

    @property
    def coming_bytes(self) -> int:
        """The bytes of a body that the gateway stores, as CloudFront read them. Raises MissingParam."""
        from murmuration.endpoint.uploads import size_of

        return size_of(self.headers if self._came_through_viewer() else {})

    def _came_through_viewer(self) -> bool:
        """Return whether the request bears the secret that the viewer side alone puts on requests."""
        shown, parameter = self.headers.get(VIEWER_SECRET_HEADER, ""), settings().viewer_secret_parameter
        if not shown or not parameter:
            return False
        from murmuration.aws.parameters import read_secret

        return hmac.compare_digest(shown.encode(), read_secret(parameter).encode())

    @cached_property
    def body(self) -> bytes:
        raw = self.event.get("body") or ""
        return base64.b64decode(raw) if self.event.get("isBase64Encoded") else raw.encode()

    def json(self) -> Any:
        """Return the body as JSON; any value. Raises NotJson, BadJson."""
        return parse_json(self.body)

    def json_object(self, *, optional: bool = False) -> dict[str, Any]:
        """Return the body, a JSON object; {} for an `optional` one that is empty or null. Raises NotJson."""
        if optional and self.body.strip() in (b"", b"null"):
            return {}
        value = self.json()
        if not isinstance(value, dict):
            raise BadJson("The body must be a JSON object")
        return value

    def fields(self, *, optional: bool = False) -> Fields:
        """Return the body's properties by type; `optional`: none if it is empty. Raises NotJson, BadJson."""
        return Fields(self.json_object(optional=optional))

    def form(self) -> dict[str, str]:
        """Return the fields of a form that a browser posted, each one's last value. Raises InvalidParam."""
        from urllib.parse import parse_qsl

        try:
            pairs = parse_qsl(
                self.body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100
            )
        except ValueError as error:
            raise InvalidParam("The body is not a form") from error
        return dict(pairs)

    @cached_property
    def access_token(self) -> AccessToken:
        """The token as presented, not yet verified. Raises MissingToken, UnknownToken."""
        from murmuration.identity.tokens import AccessToken

        return AccessToken.parse(self.shown_token)

    @property
    def shown_token(self) -> str:
        """The text of the access token, as it was sent. Raises MissingToken."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        if shown := bearer or self.query.get("access_token", ""):
            return shown
        raise MissingToken("The access token is missing")

    @property
    def requester(self) -> Requester:
        """The user and device that ask; their token is verified before the handler runs."""
        if self._requester is None:
            raise MissingToken("The access token is missing")
        return self._requester

    @property
    def optional_requester(self) -> Requester | None:
        return self._requester

    def authenticate(self, auth: Auth) -> None:
        """Verify the access token as `auth` asks. Raises MissingToken, UnknownToken and the like.

        A token that the domain verifies must look like one before anything else is said of the request.
        """
        if auth is Auth.NONE:
            return
        if auth is Auth.DEFERRED_ACCESS_TOKEN:
            _ = self.access_token
            return
        if auth is Auth.OPTIONAL_ACCESS_TOKEN and not (
            self.headers.get("authorization") or self.query.get("access_token")
        ):
            return
        from murmuration.identity.authentication import authenticate

        self._requester = authenticate(
            self.access_token,
            address=lambda: self.source_ip,
            even_locked=auth is Auth.LOCKED_ACCESS_TOKEN,
        )

    def authenticate_server(self) -> None:
        """Verify the X-Matrix signatures and keep the origin and what it signed. Raises Unauthorized."""
        from murmuration.federation.authentication import authenticate

        every = self.event.get("multiValueHeaders") or {}
        signatures = [
            value for name, values in every.items() if name.lower() == "authorization" for value in values
        ]
        if not signatures and "authorization" in self.headers:
            signatures = [self.headers["authorization"]]
        self._origin, self._content = authenticate(
            signatures, self.method, self.sent_uri, self.body, address=lambda: self.source_ip
        )
        charge_server(self._origin)

    @property
    def origin(self) -> ServerName:
        """The server that sent the request, verified before the handler ran."""
        if self._origin is None:
            raise Unauthorized("The request has no X-Matrix authorization")
        return self._origin

    @property
    def content(self) -> Any:
        """The JSON of a server's request, as it was verified: of any depth; None without a body."""
        return self._content

    @property
    def content_object(self) -> dict[str, Any]:
        """`content`, if it's an object. Raises BadJson."""
        if not isinstance(self._content, dict):
            raise BadJson("The body must be a JSON object")
        return self._content

    @property
    def sent_uri(self) -> str:
        """Path and query as they were sent, which CloudFront tells in a header. Raises Unauthorized.

        Without that header only a request without a query can be trusted.
        """
        if self._came_through_viewer() and (uri := self.headers.get(URI_HEADER)):
            return uri
        if self.event.get("multiValueQueryStringParameters") or self.event.get("queryStringParameters"):
            raise Unauthorized("The request did not come by this server's address")
        return self.path


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
            from murmuration.endpoint.other_methods import answer_other

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

    def _proxy_response(self, request: Request, answer: Any) -> ProxyResponse:
        if request.method == "HEAD":
            from murmuration.endpoint.other_methods import head_response

            return head_response(answer)
        compressible, reads = request.accepts_gzip, request.method == "GET"
        try:
            return proxy_response(answer, compressible=compressible, reads=reads)
        except Exception:  # noqa: BLE001 - a large answer couldn't be stored
            return proxy_response(_unexpected(request.event, request.context))


def _refusing(route: Http) -> AbstractContextManager[None]:
    """Refuse suspended users if the route does so. It holds wherever the token is verified."""
    if not route.refuses_suspended:
        return nullcontext()
    from murmuration.identity.moderation import refusing_suspended

    return refusing_suspended()


def error_response(error: MatrixError, *, as_page: bool = False) -> Response:
    """Return the standard error response of `error`, or one for people."""
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


def proxy_response(answer: Any, *, compressible: bool = False, reads: bool = True) -> ProxyResponse:
    """Return API Gateway's proxy response for a handler's answer: a Response, or the value of a JSON body.

    JSON over a function's 6 MB goes out compressed if it's `compressible`. If it is too large even so, it is
    stored, and the client is redirected to it (`large_answers`): with 307 if the request only `reads`, else
    with 303. Behind an HTTP API, which doesn't compress, smaller answers are compressed too.
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

    `also` are older paths of it; one with another method has that in front: `PUT /path`. Browsers come to
    what is `for_people`, suspended users don't to what `refuses_suspended`. `stores_body`: see `uploads`.
    """
    given = (one.rpartition(" ") for one in also)
    older = tuple((other or method, where) for other, _, where in given)

    def decorate(function: Callable[[Request], Any]) -> Handler:
        return Handler(
            function, Http(method, path, auth, versions, older, for_people, refuses_suspended, stores_body)
        )

    return decorate
