"""Answers that may be large: a function's answer has at most 6 MB, and compressed ones are encoded in
Base64.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from murmuration.protocol.errors import Unavailable

PLAIN_BYTES = 1_000_000
"""The function doesn't compress answers up to this size."""
MOST_PLAIN_BYTES = 5_500_000
MOST_PACKED_BYTES = 4_200_000
"""The largest number of compressed bytes that stay below 6 MB in Base64."""
COMPRESSED_TO = 2
"""Compression makes events at least this many times smaller; signatures and hashes hardly shrink."""
MOST_RAW_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class Packed:
    """An answer's body, as JSON or in bytes, and the headers about its encoding."""

    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def packed(value: object, *, gzip: bool) -> Packed:
    """Return an answer, compressed if it is large and the requesting server accepts `gzip`.

    Raises Unavailable if it doesn't fit.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(text) <= PLAIN_BYTES:
        return Packed(value)
    headers = {"Content-Type": "application/json", "Vary": "Accept-Encoding"}
    if not gzip:
        if len(text) * 4 // 3 > MOST_PLAIN_BYTES:
            raise Unavailable("The answer is too large to be sent uncompressed: ask for gzip")
        return Packed(text, headers)
    from gzip import compress

    content = compress(text, 5, mtime=0)
    if len(content) > MOST_PACKED_BYTES:
        raise Unavailable("The answer is too large to be sent by this server")
    return Packed(content, {**headers, "Content-Encoding": "gzip"})


def require_room_for(number: int, *, gzip: bool) -> None:
    """Raise Unavailable if an answer of about `number` bytes wouldn't fit. Call it before building the
    answer.
    """
    if not gzip and number * 4 // 3 > MOST_PLAIN_BYTES:
        raise Unavailable("The answer would be too large to be sent uncompressed: ask for gzip")
    if number > MOST_PACKED_BYTES * COMPRESSED_TO:
        raise Unavailable("The answer would be too large to be sent by this server")


class Size:
    """Counts the bytes of an answer while it is built."""

    def __init__(self, most: int = MOST_RAW_BYTES) -> None:
        self.left = most

    def take(self, number: int) -> bool:
        """Count bytes. Returns False if there is no room for them."""
        if number > self.left:
            return False
        self.left -= number
        return True

    def require(self, number: int) -> None:
        """Count bytes. Raises Unavailable if there is no room for them."""
        if not self.take(number):
            raise Unavailable("The answer is too large to be sent by this server")
