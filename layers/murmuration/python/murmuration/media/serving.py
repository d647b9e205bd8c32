"""Answers with media: their bytes, a range of them, or a redirect to a signed URL.

A function can answer 6 MB, which is 4 MiB as Base64. Larger media come from the bucket through CloudFront, at
the server's own address: see docs/limits.md. The bucket serves ranges itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from murmuration.aws import objects
from murmuration.identity import budgets
from murmuration.media.asking import Asked
from murmuration.media.headers import ETAG, file_headers
from murmuration.protocol.errors import NotFound, TooLargeToServe
from murmuration.storage.media import Content

INLINE_BYTES = 4_194_304
"""The largest file that a function sends itself."""
SIGNED_S = 3600
"""How long a signed URL is valid. A player requests a video in many ranges."""
REDIRECT_CACHING = "private, max-age=600"
"""A cached redirect expires before its URL does, so a player needn't ask for it each time."""
_NOTHING_THERE = b'{"errcode":"M_UNKNOWN","error":"The file has nothing in this range"}'
_JSON = {"Content-Type": "application/json"}
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})", re.ASCII)


@dataclass(frozen=True, slots=True)
class File:
    """Media that are small enough to be in memory."""

    data: bytes
    content_type: str
    file_name: str | None


@dataclass(frozen=True, slots=True)
class Served:
    """An answer with media, or a redirect to them."""

    data: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def serve(content: Content, asked: Asked, file_name: str | None = None) -> Served:
    """Return uploaded media, with their own file name or `file_name`. A client that has them already gets no
    bytes.

    A HEAD request is redirected to the bucket, since only the bucket knows the size. Raises NotFound if the
    bucket has lost the media, TooLargeToServe if they are too large to be sent and no redirect is allowed.
    """
    name = file_name or content.file_name
    if asked.is_known:
        return _not_modified(content.content_type, name)
    if content.size <= INLINE_BYTES and not (asked.is_head and asked.may_redirect):
        return serve_file(read_file(content, name), asked)
    if not asked.may_redirect:
        raise TooLargeToServe("This is too large to be sent without a redirect; allow one")
    headers = file_headers(content.content_type, name)
    location = signed_path(content, headers) if not asked.is_head else _path_of_headers(content, headers)
    return Served(b"", 307, {"Location": location, "Cache-Control": REDIRECT_CACHING})


def serve_file(file: File, asked: Asked) -> Served:
    """Return bytes, or the requested range of them. A client that has them already gets no bytes."""
    if asked.is_known:
        return _not_modified(file.content_type, file.file_name)
    headers = {**file_headers(file.content_type, file.file_name), "Accept-Ranges": "bytes", "ETag": ETAG}
    size = len(file.data)
    found = parse_range(asked.range, size)
    if found is None:
        return Served(file.data, 200, headers)
    first, last = found
    if first >= size:
        return Served(_NOTHING_THERE, 416, {**_JSON, "Content-Range": f"bytes */{size}"})
    return Served(
        file.data[first : last + 1], 206, {**headers, "Content-Range": f"bytes {first}-{last}/{size}"}
    )


def _not_modified(content_type: str, file_name: str | None) -> Served:
    return Served(b"", 304, {**file_headers(content_type, file_name), "ETag": ETAG})


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte of a Range header; None if it is missing, invalid or has several ranges.

    The first byte is `size` or more if the range is outside the file.
    https://www.rfc-editor.org/rfc/rfc9110#name-range
    """
    found = _RANGE.fullmatch(header)
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        count = int(found[2])
        return (max(0, size - count), size - 1) if count else (size, size)
    first, last = int(found[1]), int(found[2]) if found[2] else size - 1
    return None if found[2] and last < first else (first, min(last, size - 1))


def read_file(content: Content, file_name: str | None = None) -> File:
    """Return the bytes of media, which must be small enough. Raises NotFound if the bucket has lost them."""
    found = objects.get(content.object)
    if found is None:
        raise NotFound("The media are gone")
    return File(found.data, content.content_type, file_name or content.file_name)


def _path_of_headers(content: Content, headers: Mapping[str, str]) -> str:
    return objects.signed_path(content.object, SIGNED_S, headers=headers, method="HEAD")


def signed_path(content: Content, headers: Mapping[str, str]) -> str:
    """Return a signed path at which the bytes can be read for an hour, with these headers.

    The requester's budget pays for the transfer now. Raises LimitExceeded.
    """
    cost = content.size / 1024 * budgets.SENT_KB
    budgets.expect(cost)
    budgets.add(cost)
    return objects.signed_path(content.object, SIGNED_S, headers=headers)
