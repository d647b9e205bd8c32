"""Answers over a function's 6 MB: compressed if that is enough, else stored in the bucket for a while.

The client is redirected to a signed path of the server's own address, which CloudFront passes to the bucket.
Because the address stays the same, browsers need no other permission. CloudFront doesn't pass on the client's
access token: the bucket would take it for a second signature and refuse. See docs/limits.md.
"""

from __future__ import annotations

import base64
import gzip
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

ANSWER_BYTES = 6_000_000
"""The maximum size of an answer's body, as a string in JSON. Lambda's limit is 6 MiB with the headers."""
SMALL_BYTES = 1_400_000
"""The size of a body that fits in any case."""
COMPRESSED_FILE_BYTES = 64_000_000
"""A longer body is stored uncompressed: compressing it would take longer than reading it."""
FOLDER = "answers/"
LIFETIME_S = 600
"""How long the signed path is valid. The object itself is deleted after a day."""


@dataclass(frozen=True, slots=True)
class Large:
    """A large body after `fit`: the string to send, or the path at which the client can read it."""

    body: str = ""
    encoded: bool = False
    compressed: bool = False
    location: str = ""


def fit(pieces: Iterable[str], *, compressible: bool, smallest: int | None = None) -> Large:
    """Return JSON of any length as a body if it fits, else store it in the bucket and return its path.

    If `compressible`, JSON of `smallest` bytes and more is compressed even if it would fit uncompressed.
    """
    rest = iter(pieces)
    beginning: list[bytes] = []
    size = 0
    for piece in rest:
        beginning.append(piece.encode())
        size += len(beginning[-1])
        if size > COMPRESSED_FILE_BYTES:
            return Large(location=_store(beginning, rest))
    data = b"".join(beginning)
    compress = compressible and smallest is not None and size >= smallest
    if size <= SMALL_BYTES and not compress:
        return Large(data.decode())
    if compressible:
        small = gzip.compress(data, 1, mtime=0)
        if _base64_bytes(small) <= ANSWER_BYTES:
            return Large(base64.b64encode(small).decode(), encoded=True, compressed=True)
        return Large(location=_store([small], (), encoding="gzip"))
    text = data.decode() if size <= ANSWER_BYTES else ""
    if text and len(json.dumps(text, ensure_ascii=False).encode()) <= ANSWER_BYTES:
        return Large(text)
    if _base64_bytes(data) <= ANSWER_BYTES:
        return Large(base64.b64encode(data).decode(), encoded=True)
    return Large(location=_store([data], ()))


def _base64_bytes(data: bytes) -> int:
    return -(-len(data) // 3) * 4


def _store(beginning: Iterable[bytes], rest: Iterable[str], encoding: str = "") -> str:
    """Store a body in the bucket, and return the path at which it can be read for a while."""
    import secrets

    from murmuration.aws import objects

    key = FOLDER + secrets.token_urlsafe(32)
    with tempfile.TemporaryFile() as file:
        file.writelines(beginning)
        file.writelines(piece.encode() for piece in rest)
        file.seek(0)
        objects.put(key, file, "application/json", encoding=encoding)
    return objects.signed_path(key, LIFETIME_S)
