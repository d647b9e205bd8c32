"""Requests to other servers' HTTP APIs: which are refused before connecting, and which are aborted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from murmuration import outbound
from murmuration.outbound import OutboundError


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/json")
            self.end_headers()
            return
        body = {"/json": b'{"a":1}', "/list": b"[]", "/none": b"x"}.get(
            self.path, b"x" * (outbound.MAX_BYTES + 1)
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_loopback_where_it_is_allowed(url: str) -> None:
    assert outbound.get(f"{url}/json", private=True).json_object() == {"a": 1}
    assert outbound.post_form(f"{url}/", {"a": "b c"}, private=True).body == b"a=b+c"
    with pytest.raises(OutboundError, match="isn't public"):
        outbound.get(f"{url}/json")


def test_redirects_are_not_followed(url: str) -> None:
    assert outbound.get(f"{url}/away", private=True).status == 302


@pytest.mark.parametrize("path", ["/list", "/none"])
def test_what_is_no_object(url: str, path: str) -> None:
    with pytest.raises(OutboundError, match="not"):
        outbound.get(f"{url}{path}", private=True).json_object()


def test_an_endless_answer(url: str) -> None:
    with pytest.raises(OutboundError, match="bytes"):
        outbound.get(f"{url}/big", private=True)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("10.0.0.1", False), ("127.0.0.1", False), ("169.254.169.254", False), ("::1", False),
        ("fd00::1", False), ("::ffff:10.0.0.1", False), ("100.64.0.1", False),
    ],
)  # fmt: skip
def test_addresses_that_are_refused(monkeypatch: pytest.MonkeyPatch, address: str, private: bool) -> None:
    """The address decides, whatever the name is, and the name is resolved once."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connects"))
    with pytest.raises(OutboundError, match="isn't public"):
        outbound.get("https://innocent.example/", private=private)


@pytest.mark.parametrize(
    "found", ["http://93.184.216.34/", "http://10.0.0.1/", "ftp://127.0.0.1/", "x", "https://"]
)
def test_only_https_but_for_the_loopback(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connects"))
    with pytest.raises(OutboundError):
        outbound.get(found, private=True)


def test_nobody_there() -> None:
    with pytest.raises(OutboundError, match="was not reached"):
        outbound.get("https://127.0.0.1:9/", private=True)
