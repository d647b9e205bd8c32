"""The WebSocket API: turns handshake, messages and end of each connection into invocations.

As with API Gateway, a connection exists for PostToConnection only after `$connect` has answered. Messages of
one connection are invoked concurrently as they come, so a function must not rely on their order. The answer
of `$default` isn't sent to the client.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from local_cloud.aws.patch import AwsError, Operation
from local_cloud.config import Limits
from local_cloud.gateway.events import (
    HttpRequest,
    connect_event,
    disconnect_event,
    message_event,
    websocket_context,
)
from local_cloud.gateway.http import Message, Receive, Send, request_of
from local_cloud.lambdas import Function, FunctionError, Lambdas
from local_cloud.names import EDGE_ADDRESS

if TYPE_CHECKING:
    from local_cloud.aws.shapes import ConnectionPost, OfConnection, Parsed
    from murmuration.protocol.encoding.shapes import LambdaEvent

PATHS = re.compile(r"/ws|/_matrix/client/[^/]+/stream")
"""The path that CloudFront sends to the WebSocket API."""


class Socket:
    """A live connection. Its methods may be called from any thread."""

    def __init__(self, request: HttpRequest, loop: asyncio.AbstractEventLoop, send: Send) -> None:
        self.id = base64.urlsafe_b64encode(secrets.token_bytes(11)).decode()
        self.request = request
        self.connected_at = int(time.time() * 1000)
        self.active_at = loop.time()
        self.last_active = time.time()
        self._loop = loop
        self._send = send
        self._accepted = asyncio.Event()

    async def accept(self, subprotocol: str | None) -> None:
        """Open the connection. What was posted before is sent then."""
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})
        self._accepted.set()

    def context(self, route: str, kind: str, **fields: Any) -> dict[str, Any]:
        return websocket_context(self.request, self.id, self.connected_at, route, kind, **fields)

    def touch(self) -> None:
        """Record that a message was sent or received."""
        self.active_at = self._loop.time()
        self.last_active = time.time()

    def post(self, data: bytes) -> None:
        """Send a message to the client, and return when it is being transmitted. Raises ConnectionError if
        the client is gone.
        """
        try:
            message: Message = {"type": "websocket.send", "text": data.decode()}
        except UnicodeDecodeError:
            message = {"type": "websocket.send", "bytes": data}
        self._run(message)
        self._loop.call_soon_threadsafe(self.touch)

    def close(self, code: int, reason: str = "") -> None:
        self._run({"type": "websocket.close", "code": code, "reason": reason})

    def _run(self, message: Message) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._forward(message), self._loop).result(timeout=29)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ConnectionError("the connection is gone") from error

    async def _forward(self, message: Message) -> None:
        await self._accepted.wait()
        await self._send(message)


class Sockets:
    """The live connections, and the management API over them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sockets: dict[str, Socket] = {}
        self._lock = threading.Lock()

    def add(self, socket: Socket) -> None:
        with self._lock:
            self._sockets[socket.id] = socket

    def discard(self, socket: Socket) -> None:
        with self._lock:
            self._sockets.pop(socket.id, None)

    def operations(self) -> dict[str, Operation]:
        return {
            "PostToConnection": self.post_to_connection,
            "GetConnection": self.get_connection,
            "DeleteConnection": self.delete_connection,
        }

    def _find(self, params: OfConnection) -> Socket:
        with self._lock:
            found = self._sockets.get(params["ConnectionId"])
        if found is None:
            raise AwsError("GoneException", "The connection with the provided id no longer exists.", 410)
        return found

    def post_to_connection(self, params: ConnectionPost) -> Parsed:
        data = params["Data"]
        data = (
            data.encode() if isinstance(data, str) else data.read() if hasattr(data, "read") else bytes(data)
        )
        if len(data) > self._limits.socket_message_bytes:
            raise AwsError("PayloadTooLargeException", "The data has exceeded the maximum size allowed.", 413)
        socket = self._find(params)
        try:
            socket.post(data)
        except ConnectionError as error:
            raise AwsError("GoneException", str(error), 410) from error
        return {}

    def get_connection(self, params: OfConnection) -> Parsed:
        socket = self._find(params)
        user_agent = socket.context("", "")["identity"]["userAgent"] or ""
        return {
            "ConnectedAt": datetime.fromtimestamp(socket.connected_at / 1000, UTC),
            "LastActiveAt": datetime.fromtimestamp(socket.last_active, UTC),
            "Identity": {"SourceIp": EDGE_ADDRESS, "UserAgent": user_agent},
        }

    def delete_connection(self, params: OfConnection) -> Parsed:
        try:
            self._find(params).close(1000, "Connection closed")
        except ConnectionError as error:
            raise AwsError("GoneException", str(error), 410) from error
        return {}


class WebSocketGateway:
    """The ASGI application for WebSocket connections. `routes` has functions by route key."""

    def __init__(
        self,
        routes: Mapping[str, Function],
        lambdas: Lambdas,
        sockets: Sockets,
        limits: Limits,
        viewer_secret: str,
    ) -> None:
        self._routes = routes
        self._lambdas = lambdas
        self._sockets = sockets
        self._limits = limits
        self._viewer_secret = viewer_secret

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        request = request_of(scope)
        await receive()
        if not self._routes or not PATHS.fullmatch(request.path):
            await _reject(send, 403)
            return
        socket = Socket(request, asyncio.get_running_loop(), send)
        answer = await self._connect(socket)
        status = answer.get("statusCode", 500)
        if not isinstance(status, int) or not 200 <= status < 300:
            await _reject(send, status if isinstance(status, int) and 400 <= status < 600 else 500)
            return
        headers = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
        self._sockets.add(socket)  # before its client can know that it is open
        code, reason = 1006, ""
        try:
            await socket.accept(headers.get("sec-websocket-protocol"))
            code, reason = await self._converse(socket, receive, send)
        finally:
            self._sockets.discard(socket)
            context = socket.context(
                "$disconnect", "DISCONNECT", disconnectStatusCode=code, disconnectReason=reason
            )
            self._start("$disconnect", disconnect_event(context))

    async def _connect(self, socket: Socket) -> dict[str, Any]:
        """Return the answer of `$connect`; {"statusCode": 500} or 504 if it failed."""
        function = self._routes.get("$connect")
        if function is None:
            return {"statusCode": 200}
        event = connect_event(socket.request, socket.context("$connect", "CONNECT"), self._viewer_secret)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        timeout = self._limits.integration_timeout

        def settle(answer: object) -> None:
            if not future.done():
                future.set_result(answer)

        def run() -> None:
            try:
                answer = self._lambdas.invoke(function, event, timeout)
            except FunctionError:
                answer = {"statusCode": 500}
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, answer)

        self._lambdas.submit(run)
        try:
            answer = await asyncio.wait_for(future, timeout)
        except TimeoutError:
            return {"statusCode": 504}
        return answer if isinstance(answer, dict) else {"statusCode": 500}

    async def _converse(self, socket: Socket, receive: Receive, send: Send) -> tuple[int, str]:
        """Receive messages until the end. Returns the close code and reason."""
        watch = asyncio.ensure_future(self._watch(socket, send))
        try:
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    return message.get("code", 1006), message.get("reason") or ""
                socket.touch()
                text = message.get("text")
                body = text if text is not None else message["bytes"]
                context = socket.context("$default", "MESSAGE", messageId=secrets.token_urlsafe(11) + "=")
                self._start("$default", message_event(context, body))
        finally:
            watch.cancel()

    async def _watch(self, socket: Socket, send: Send) -> None:
        """End the connection when it has been idle, or open, for too long."""
        loop = asyncio.get_running_loop()
        end_of_life = loop.time() + self._limits.socket_lifetime
        while True:
            due = min(socket.active_at + self._limits.socket_idle, end_of_life)
            if due <= loop.time():
                reason = "Going away" if due == end_of_life else "Idle timeout"
                await send({"type": "websocket.close", "code": 1001, "reason": reason})
                return
            await asyncio.sleep(due - loop.time())

    def _start(self, route: str, event: LambdaEvent) -> None:
        function = self._routes.get(route)
        if function is None:
            return

        def run() -> None:
            try:
                self._lambdas.invoke(function, event, self._limits.integration_timeout)
            except FunctionError:
                return

        self._lambdas.submit(run)


async def _reject(send: Send, status: int) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b""})


def protocol(limits: Limits) -> type[WebSocketsSansIOProtocol]:
    """Return Uvicorn's WebSocket protocol with API Gateway's limit on frames: a larger one ends the
    connection with 1009.
    """

    class LimitedFrames(WebSocketsSansIOProtocol):
        def handle_text(self, event: Frame) -> None:
            if self._fits(event):
                super().handle_text(event)

        def handle_bytes(self, event: Frame) -> None:
            if self._fits(event):
                super().handle_bytes(event)

        def handle_cont(self, event: Frame) -> None:
            if self._fits(event):
                super().handle_cont(event)

        def _fits(self, event: Frame) -> bool:
            if len(event.data) <= limits.socket_frame_bytes:
                return True
            self.conn.fail(1009, "frame too large")
            self.handle_parser_exception()
            return False

    return LimitedFrames
