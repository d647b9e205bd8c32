"""Uvicorn in its own thread, on a socket that was bound before."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from local_cloud.config import Limits
from local_cloud.gateway.http import HttpGateway, Message, Receive, Send
from local_cloud.gateway.websocket import WebSocketGateway, protocol


class AddressInUse(Exception):
    """Another program listens at the address. The message says which address."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises AddressInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol given, asyncio sets TCP_NODELAY on accepted sockets; otherwise each answer is delayed
    # by 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise AddressInUse(
            f"Can't listen on {host}:{port} ({error.strerror}); choose another port."
        ) from error
    listener.listen(2048)
    return listener


class WrongCertificate(Exception):
    """The certificate or its key can't be used. The message says why."""


class Server:
    """The gateway's HTTP server. With `tls`, the files of a certificate and its key, it serves HTTPS."""

    def __init__(
        self,
        listener: socket.socket,
        http: HttpGateway,
        websocket: WebSocketGateway,
        limits: Limits,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """Prepare the server. Raises WrongCertificate."""
        self._listener = listener
        self._http = http
        self._websocket = websocket
        self.on_request: Callable[[bool], None] = lambda _preflight: None
        """Called for each HTTP request, with whether it is a browser's preflight."""
        config = uvicorn.Config(
            self._application,
            interface="asgi3",
            proxy_headers=False,
            http="httptools",
            ws=protocol(limits),
            ws_max_size=limits.socket_message_bytes,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=65,
            timeout_graceful_shutdown=5,
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise WrongCertificate(f"The TLS certificate or its key can't be used: {error}") from error
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    async def _application(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.on_request(scope["method"] == "OPTIONS")
            await self._http(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    def stop(self) -> None:
        """Stop listening, give requests in progress five seconds, and end."""
        self._server.should_exit = True
        self._thread.join(15)
