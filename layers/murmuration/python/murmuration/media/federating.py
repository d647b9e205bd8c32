"""Media of this server for other servers.

An answer has two parts: an empty JSON object, and the file, or its location if it is too large for a
function. The file has the same headers as for clients.
https://spec.matrix.org/v1.19/server-server-api/#content-repository
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from math import ceil

from murmuration.identity import rate_limits
from murmuration.media.asking import Asked
from murmuration.media.finding import find_own_content
from murmuration.media.headers import file_headers
from murmuration.media.serving import INLINE_BYTES, File, read_file, signed_path
from murmuration.media.thumbnails import Wanted, find_own_thumbnail
from murmuration.protocol.encoding.multipart import build
from murmuration.settings import settings
from murmuration.storage.media import Content

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Parts:
    """A multipart body and its Content-Type."""

    content_type: str
    body: bytes


def get_content(media_id: str, asked: Asked) -> Parts:
    """Return a file of this server. Raises NotFound, NotYetUploaded, LimitExceeded."""
    return _answer(find_own_content(media_id, asked), asked)


def get_content_thumbnail(media_id: str, wanted: Wanted, asked: Asked) -> Parts:
    """Return a thumbnail of an image of this server. Raises what `find_own_thumbnail` raises."""
    return _answer(find_own_thumbnail(media_id, wanted, asked), asked)


def _answer(found: File | Content, asked: Asked) -> Parts:
    """Return the answer. The requesting server's megabytes are limited. Raises LimitExceeded."""
    size = len(found.data) if isinstance(found, File) else found.size
    rate_limits.check("federation_media", asked.asker, max(1, ceil(size / MEGABYTE)))
    headers = file_headers(found.content_type, found.file_name)
    if isinstance(found, Content) and found.size > INLINE_BYTES:
        # An absolute URL, as the specification requires; other servers don't accept anything else.
        return _parts({"Location": settings().public_url + signed_path(found, headers)}, b"")
    data = found.data if isinstance(found, File) else read_file(found).data
    wanted = ("Content-Type", "Content-Disposition")
    return _parts({name: headers[name] for name in wanted}, data)


def _parts(headers: dict[str, str], data: bytes) -> Parts:
    boundary = secrets.token_hex(16)
    body = build(boundary, [({"Content-Type": "application/json"}, b"{}"), (headers, data)])
    return Parts(f"multipart/mixed; boundary={boundary}", body)
