"""Bodies of several parts (RFC 2046): written whole, read piece by piece.

https://spec.matrix.org/v1.19/server-server-api/#content-repository
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

MAX_HEADER_BYTES = 16_384
_BOUNDARY = re.compile(r";\s*boundary=(?:\"([^\"\\]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE | re.ASCII)


class MultipartError(ValueError):
    """The body does not have the form that its Content-Type names."""


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names. Raises MultipartError if it isn't multipart/mixed."""
    found = _BOUNDARY.search(content_type)
    if content_type.partition(";")[0].strip().lower() != "multipart/mixed" or found is None:
        raise MultipartError("the content type isn't multipart/mixed with a boundary")
    return (found[1] or found[2]).encode("latin-1", "replace")


def build(boundary: str, parts: Sequence[tuple[Mapping[str, str], bytes]]) -> bytes:
    """Return a body of these parts, each with its headers. `boundary` must not occur in them."""
    pieces = []
    for headers, data in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        pieces += [f"--{boundary}\r\n{lines}\r\n".encode(), data, b"\r\n"]
    return b"".join((*pieces, f"--{boundary}--\r\n".encode()))


class Reader:
    """The parts of a body that arrives in pieces. At most one piece and one delimiter are in memory."""

    def __init__(self, boundary: bytes, pieces: Iterable[bytes]) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._pieces = iter(pieces)
        # The first delimiter needs no line break before it.
        self._held = b"\r\n"
        self._in_part = True
        self._ended = False

    def next_part(self) -> dict[str, str] | None:
        """Return the headers of the next part, with lower-case names; None after the last part.

        The rest of the previous part is skipped. Raises MultipartError.
        """
        for _ in self.body():
            pass
        if self._ended:
            return None
        text = self._until(b"\r\n\r\n", prefix=b"\r\n")
        headers: dict[str, str] = {}
        for line in text.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        self._in_part = True
        return headers

    def body(self) -> Iterator[bytes]:
        """Yield the rest of this part, piece by piece. Raises MultipartError if the body ends within it."""
        keep = len(self._delimiter) - 1
        while self._in_part:
            at = self._held.find(self._delimiter)
            if at >= 0:
                found, self._held = self._held[:at], self._held[at + len(self._delimiter) :]
                self._in_part = False
                self._pass_delimiter()
                if found:
                    yield found
                return
            if len(self._held) > keep:
                found, self._held = self._held[:-keep], self._held[-keep:]
                yield found
            self._more()

    def _pass_delimiter(self) -> None:
        """Read the rest of a delimiter's line: two dashes after the last part, otherwise blanks."""
        while len(self._held) < 2:
            self._more()
        if self._held.startswith(b"--"):
            self._ended = True
            return
        if self._until(b"\r\n").strip(b" \t"):
            raise MultipartError("a delimiter's line goes on")

    def _until(self, end: bytes, prefix: bytes = b"") -> bytes:
        """Return the bytes before `end`, and move to the position after it. `prefix` are bytes that were read
        before.
        """
        self._held = prefix + self._held
        while (at := self._held.find(end)) < 0:
            if len(self._held) > MAX_HEADER_BYTES:
                raise MultipartError("a part's headers are too long")
            self._more()
        found, self._held = self._held[:at], self._held[at + len(end) :]
        return found

    def _more(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise MultipartError("the body ends within a part")
        self._held += piece
