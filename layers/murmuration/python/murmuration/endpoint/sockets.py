"""The WebSocket API's functions: they take API Gateway's events and return its responses."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from murmuration.endpoint.billing import socket_billing
from murmuration.endpoint.ports import connect_ports
from murmuration.endpoint.routes import WebSocket
from murmuration.endpoint.sent import query_of
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.encoding.shapes import LambdaEvent
from murmuration.protocol.errors import MatrixError, MissingToken

if TYPE_CHECKING:
    from murmuration.endpoint.shapes import ProxyResponse


class SocketRequest:
    """An event of one connection: its handshake, a message, or its end."""

    def __init__(self, event: LambdaEvent) -> None:
        self.event = event

    @property
    def connection_id(self) -> str:
        return str(self.event["requestContext"]["connectionId"])

    @cached_property
    def headers(self) -> dict[str, str]:
        """The handshake's headers, by lower-case name."""
        return {name.lower(): value for name, value in (self.event.get("headers") or {}).items()}

    @cached_property
    def query(self) -> dict[str, str]:
        return query_of(self.event)

    @property
    def subprotocols(self) -> list[str]:
        """The WebSocket subprotocols that the client offers."""
        offered = self.headers.get("sec-websocket-protocol", "").split(",")
        return [name.strip() for name in offered if name.strip()]

    @property
    def text(self) -> str:
        """The text of the message."""
        body = self.event.get("body") or ""
        if self.event.get("isBase64Encoded"):
            return base64.b64decode(body).decode("utf-8", "replace")
        return str(body)

    @property
    def access_token(self) -> AccessToken:
        """The token as presented, not yet verified. Raises MissingToken, UnknownToken."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            token = self.query.get("access_token", "")
        if not token.strip():
            raise MissingToken("The access token is missing")
        return AccessToken.parse(token.strip())


class SocketHandler:
    """A Lambda entry point around the function of one route of the WebSocket API."""

    def __init__(
        self, function: Callable[[SocketRequest], Mapping[str, str] | None], route: WebSocket
    ) -> None:
        self.function = function
        self.route = route
        self.__doc__ = function.__doc__

    def __call__(self, event: LambdaEvent, context: Any = None) -> ProxyResponse:  # noqa: ARG002
        connect_ports()
        with socket_billing(self.route.key):
            return self._respond(event)

    def _respond(self, event: LambdaEvent) -> ProxyResponse:
        try:
            headers = self.function(SocketRequest(event))
        except MatrixError as error:
            return {
                "statusCode": error.status,
                "headers": {"Content-Type": "application/json"},
                "body": json.dumps(error.body()),
            }
        return {"statusCode": 200, "headers": dict(headers)} if headers else {"statusCode": 200}


def socket_endpoint(
    key: str,
) -> Callable[[Callable[[SocketRequest], Mapping[str, str] | None]], SocketHandler]:
    """Return a decorator that makes a function the Lambda handler of the WebSocket route `key`.

    For `$connect`, the function may return response headers.
    """

    def decorate(function: Callable[[SocketRequest], Mapping[str, str] | None]) -> SocketHandler:
        return SocketHandler(function, WebSocket(key))

    return decorate
