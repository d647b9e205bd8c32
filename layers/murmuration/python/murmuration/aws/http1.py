"""The part of HTTP/1.1 that AWS's services use: one request after another over a kept connection.

`http.client` takes three times the CPU for a request, and imports `email`, which would slow down every cold
start.
https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from typing import NamedTuple

LARGEST_HEAD = 65_536
_CHUNK = 65_536
_NO_CONTENT = (204, 304)


class ProtocolError(Exception):
    """The server doesn't speak HTTP/1.1, or stopped in the middle of an answer."""


class Answer(NamedTuple):
    """An answer. `closes` says that the connection can't be used again."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    closes: bool


class Connection:
    """An open connection, for one request at a time."""

    def __init__(self, open_socket: socket.socket) -> None:
        self._socket = open_socket
        self._poll = select.poll()
        self._poll.register(open_socket, select.POLLIN)
        self._read = bytearray()

    def close(self) -> None:
        """Close the connection. It may be closed already."""
        self._socket.close()

    @property
    def is_readable(self) -> bool:
        """Whether the server has sent something or has closed the connection.

        Between requests this can only mean that it closed.
        """
        return bool(self._poll.poll(0))

    def exchange(self, request: bytes) -> Answer:
        """Send a whole request, and return its answer. Raises OSError, ProtocolError."""
        self._socket.sendall(request)
        status, headers, version = self._head()
        while 100 <= status < 200:
            status, headers, version = self._head()
        content, ended = self._content(status, headers)
        wish = headers.get("connection", "").lower()
        closes = ended or "close" in wish or (version == "HTTP/1.0" and "keep-alive" not in wish)
        return Answer(status, headers, content, closes or bool(self._read))

    def _head(self) -> tuple[int, dict[str, str], str]:
        """Return the status, the headers by lower-case name, and the HTTP version."""
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            if len(self._read) > LARGEST_HEAD:
                raise ProtocolError("the head of the answer is too large")
            self._receive()
        lines = self._take(end + 4).decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise ProtocolError(f"the answer begins with {lines[0][:40]!r}")
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                headers[name.lower()] = value.strip()
        return int(rest[:3]), headers, version

    def _content(self, status: int, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        """Return the content, and whether the server closed the connection to mark the content's end."""
        if status in _NO_CONTENT:
            return b"", False
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunks(), False
        length = headers.get("content-length")
        if length is None:
            return self._rest(), True
        if not length.isdecimal():
            raise ProtocolError(f"the content's length is {length[:40]!r}")
        return self._exactly(int(length)), False

    def _chunks(self) -> bytes:
        chunks = []
        while True:
            size_line = self._line().partition(b";")[0].strip()
            try:
                size = int(size_line, 16)
            except ValueError as error:
                raise ProtocolError(f"the length of a chunk is {size_line[:40]!r}") from error
            if size == 0:
                break
            chunks.append(self._exactly(size))
            self._line()
        while self._line():  # trailers
            pass
        return b"".join(chunks)

    def _line(self) -> bytes:
        while (end := self._read.find(b"\r\n")) < 0:
            if len(self._read) > LARGEST_HEAD:
                raise ProtocolError("a line of the answer is too long")
            self._receive()
        return self._take(end + 2)[:-2]

    def _rest(self) -> bytes:
        while received := self._socket.recv(_CHUNK):
            self._read += received
        return self._take(len(self._read))

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            self._receive()
        return self._take(size)

    def _receive(self) -> None:
        received = self._socket.recv(_CHUNK)
        if not received:
            raise ConnectionResetError("the connection ended before the answer did")
        self._read += received

    def _take(self, size: int) -> bytes:
        if size == len(self._read):
            taken = bytes(self._read)
            self._read.clear()
            return taken
        taken = bytes(self._read[:size])
        del self._read[:size]
        return taken
