"""Requests: the content of API Gateway's proxy event, parsed when it is needed."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote

from murmuration.clock import now_ms
from murmuration.endpoint.billing import charge_server
from murmuration.endpoint.routes import Auth
from murmuration.endpoint.sent import URI_HEADER, headers_of, path_parameters, query_of
from murmuration.protocol.bodies import Fields, parse_json
from murmuration.protocol.encoding.canonical_json import MAX_INTEGER
from murmuration.protocol.errors import (
    BadJson,
    InvalidParam,
    MissingParam,
    MissingToken,
    NotFound,
    TooLarge,
    Unauthorized,
)
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.endpoint.shapes import PathParams
    from murmuration.identity.tokens import AccessToken, Requester
    from murmuration.protocol.encoding.shapes import LambdaEvent
    from murmuration.protocol.identifiers import ServerName

T = TypeVar("T")

VIEWER_SECRET_HEADER = "x-murmuration-viewer-secret"  # noqa: S105 - a header's name
MAX_PARAMETER_BYTES = 900
"""The maximum length of a path parameter: it must fit into a key. Identifiers have at most 255 bytes."""


class Request:
    """A request, parsed lazily from the proxy event.

    Path parameters are percent-decoded once, as the client meant them. `query` has each parameter's last
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
        """Whether the client uses the unstable name of an endpoint, from when it was a proposal."""
        return self.path.startswith("/_matrix/client/unstable/")

    @property
    def resource(self) -> str:
        """The path of the route that the gateway chose, in API Gateway's syntax."""
        return str(self.event["resource"])

    @cached_property
    def params(self) -> PathParams:
        """The path parameters. Raises InvalidParam if one isn't UTF-8, NotFound, TooLarge."""
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
        """Return a query parameter as an identifier of this kind; None if it is absent."""
        value = self.query.get(name)
        return None if value is None else kind(value)

    def query_all(self, name: str) -> list[str]:
        """Return each value of the query parameter `name`, in the order sent."""
        return list(self.query_values.get(name) or ())

    @property
    def query_values(self) -> Mapping[str, Sequence[str]]:
        """All values of each query parameter, including empty ones."""
        return self.event.get("multiValueQueryStringParameters") or {}

    def query_required(self, name: str) -> str:
        """Return a query parameter that is required. Raises MissingParam."""
        value = self.query.get(name)
        if not value:
            raise MissingParam(f"The query parameter {name} is missing")
        return value

    def query_int(self, name: str, default: int, *, low: int = 0, high: int = MAX_INTEGER) -> int:
        """Return a whole number from the query, at least `low` and reduced to `high`. Raises InvalidParam."""
        text = self.query.get(name)
        if text is None:
            return default
        try:
            number = int(text)
        except ValueError as error:
            raise InvalidParam(f"{name} must be a whole number, not {text[:40]!r}") from error
        if not text.isascii() or "_" in text:  # Python takes other digits, too, and 1_000
            raise InvalidParam(f"{name} must be a whole number, not {text[:40]!r}")
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
        """Header values by lower-case name. The content type is the one that the client sent."""
        return headers_of(self.event)

    @property
    def accepts_gzip(self) -> bool:
        """Whether the client accepts a compressed answer."""
        for offer in self.headers.get("accept-encoding", "").lower().split(","):
            coding, _, weight = offer.replace(" ", "").partition(";q=")
            if coding == "gzip":
                return not weight or bool(weight.strip("0."))
        return False

    @property
    def received_ms(self) -> int:
        """The time at which the request reached the gateway, in milliseconds, by the gateway's clock."""
        at = self.event["requestContext"].get("requestTimeEpoch")
        return int(at) if at is not None else now_ms()

    @property
    def source_ip(self) -> str:
        """The client's address, as CloudFront reports it if the request came through there."""
        hops = [hop.strip() for hop in self.headers.get("x-forwarded-for", "").split(",")]
        if len(hops) > 1 and self._came_through_viewer():
            return hops[-2]
        return str(self.event["requestContext"]["identity"]["sourceIp"])

    @property
    def coming_bytes(self) -> int:
        """The bytes of a body that the gateway stores, as CloudFront counted them. Raises MissingParam."""
        from murmuration.endpoint.uploads import size_of

        return size_of(self.headers if self._came_through_viewer() else {})

    def _came_through_viewer(self) -> bool:
        """Return whether the request has the secret that only the viewer side adds to requests."""
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
        """Return the body, a JSON object; with `optional`, {} for an empty or null one. Raises NotJson."""
        if optional and self.body.strip() in (b"", b"null"):
            return {}
        value = self.json()
        if not isinstance(value, dict):
            raise BadJson("The body must be a JSON object")
        return value

    def fields(self, *, optional: bool = False) -> Fields:
        """Return the body's properties; none if an `optional` one is empty. Raises NotJson, BadJson."""
        return Fields(self.json_object(optional=optional))

    def form(self) -> dict[str, str]:
        """Return the fields of a form that a browser posted: each one's last value. Raises InvalidParam."""
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
        """The text of the access token, as the client sent it. Raises MissingToken."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        if shown := bearer or self.query.get("access_token", ""):
            return shown
        raise MissingToken("The access token is missing")

    @property
    def requester(self) -> Requester:
        """The user and device that make the request. Their token was verified before the handler runs."""
        if self._requester is None:
            raise MissingToken("The access token is missing")
        return self._requester

    @property
    def optional_requester(self) -> Requester | None:
        return self._requester

    def authenticate(self, auth: Auth) -> None:
        """Verify the access token as `auth` asks. Raises MissingToken, UnknownToken and similar errors.

        A token that the domain verifies has its form checked here, before any other error of the request.
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
        """Verify the X-Matrix signatures, and keep the origin and the signed content. Raises Unauthorized."""
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
    def content(self) -> object:
        """The JSON of a server's request, as it was verified, of any depth; None without a body."""
        return self._content

    @property
    def content_object(self) -> dict[str, Any]:
        """`content`, if it's an object. Raises BadJson."""
        if not isinstance(self._content, dict):
            raise BadJson("The body must be a JSON object")
        return self._content

    @property
    def sent_uri(self) -> str:
        """The path and query as the client sent them, from CloudFront's header. Raises Unauthorized.

        Without that header, only a request without a query can be trusted.
        """
        if self._came_through_viewer() and (uri := self.headers.get(URI_HEADER)):
            return uri
        if self.event.get("multiValueQueryStringParameters") or self.event.get("queryStringParameters"):
            raise Unauthorized("The request did not come by this server's address")
        return self.path
