"""A made-up network: names lead to real TLS servers on the loopback, and tests define the DNS records."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

import dns.resolver
import dns.rrset

from local_cloud.federate.certificates import Authority


@dataclass(frozen=True)
class Received:
    """A request as a server got it; `sni` is the name that the client asked for in the TLS handshake."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    sni: str | None


@dataclass(frozen=True)
class Reply:
    """What a server answers: any JSON, or bytes as they are."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Handler = Callable[[Received], Reply]


class TlsServer:
    """A TLS server on a free port of the loopback with a certificate for `names`."""

    def __init__(self, authority: Authority, names: tuple[str, ...], handler: Handler) -> None:
        self.received: list[Received] = []
        self.handler = handler
        self.connections = 0
        outer = self
        snis: dict[int, str | None] = {}

        class _Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                request = Received(
                    self.command, self.path, {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length), snis.get(id(self.connection)),
                )  # fmt: skip
                outer.received.append(request)
                reply = outer.handler(request)
                content = reply.content()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = _answer

            def log_message(self, *_: Any) -> None:
                pass

        class _Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> tuple[socket.socket, Any]:
                plain, address = super().get_request()
                plain.settimeout(10)
                return plain, address

            def finish_request(self, request: Any, client_address: Any) -> None:
                try:
                    wrapped = context.wrap_socket(request, server_side=True)
                except (OSError, ssl.SSLError):
                    return
                snis[id(wrapped)] = getattr(wrapped, "asked_for", None)
                super().finish_request(wrapped, client_address)

            def handle_error(self, *_: Any) -> None:
                pass

        context = authority.context(*names)

        def note(sock: Any, name: str | None, _: ssl.SSLContext) -> None:
            sock.asked_for = name

        context.sni_callback = note
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self.port = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Network:
    """What names lead to: `hosts` from (host, port) to (address, port), `records` from name to SRV records.

    A record's list may be "timeout". `asked` are the SRV names that were looked up.
    """

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.hosts: dict[tuple[str, int], tuple[str, int]] = {}
        self.records: dict[str, Any] = {}
        self.asked: list[str] = []
        self._servers: list[TlsServer] = []
        self._real = socket.getaddrinfo

    def serve(self, handler: Handler, *names: str) -> TlsServer:
        """Return a server with a certificate for these names."""
        server = TlsServer(self.authority, names, handler)
        self._servers.append(server)
        return server

    def at(self, host: str, port: int, server: TlsServer) -> None:
        """Let connections to this host and port reach the server."""
        self.hosts[host, port] = ("127.0.0.1", server.port)

    def getaddrinfo(self, host: str, port: int, *rest: Any, **options: Any) -> list[Any]:
        if (known := self.hosts.get((host, port)) or self._by_address(host, port)) is not None:
            address, real_port = known
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [(family, socket.SOCK_STREAM, 6, "", (address, real_port))]
        if host in ("127.0.0.1", "localhost"):
            return self._real(host, port, *rest, **options)
        raise socket.gaierror(socket.EAI_NONAME, "unknown name")

    def _by_address(self, host: str, port: int) -> tuple[str, int] | None:
        """Return where connections to an IP address lead, however it is written: Python 3.13 writes mapped
        addresses in another way than 3.12.
        """
        try:
            wanted = ip_address(host)
        except ValueError:
            return None
        for (name, number), where in self.hosts.items():
            with contextlib.suppress(ValueError):
                if number == port and ip_address(name) == wanted:
                    return where
        return None

    def resolve(self, name: str, kind: str, **_: Any) -> Any:
        self.asked.append(name)
        records = self.records.get(name)
        if records is None:
            raise dns.resolver.NXDOMAIN
        if records == "timeout":
            raise dns.resolver.LifetimeTimeout(timeout=1, errors=[])
        rrset = dns.rrset.from_text(f"{name}.", 300, "IN", kind, *records)

        class _Found(list[Any]):
            pass

        found = _Found(rrset)
        found.rrset = rrset  # type: ignore[attr-defined]
        return found

    def stop(self) -> None:
        for server in self._servers:
            server.stop()


def compressed(value: Any) -> Reply:
    """JSON in gzip."""
    return Reply(gzip.compress(json.dumps(value).encode()), headers={"Content-Encoding": "gzip"})
