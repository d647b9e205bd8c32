"""Previews of URLs: a page's description of itself, and its image.

The URL and each redirect are untrusted: only public addresses are requested, by HTTP or HTTPS, without
credentials, with limits for time and size. The functions for previews have their own role, which allows no
more than storing previews.

A preview is cached for an hour, a failure for some minutes. Only one request at a time fetches a URL.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from murmuration.aws import objects
from murmuration.aws.reads import fetch
from murmuration.clock import DAY_MS, now_ms
from murmuration.identity import patience, rate_limits
from murmuration.identity.tokens import Requester
from murmuration.media import pages
from murmuration.protocol.addresses import parse_address
from murmuration.protocol.encoding.unpadded_base64 import encode_urlsafe
from murmuration.protocol.errors import (
    BadGateway,
    Forbidden,
    InvalidParam,
    LimitExceeded,
    MatrixError,
    Refusal,
    Unrecognized,
)
from murmuration.settings import settings
from murmuration.storage import previews as storage
from murmuration.storage.media import Content, mxc_uri
from murmuration.storage.quarantine import own_read
from murmuration.storage.remote_media import Failure
from murmuration.transport import following
from murmuration.transport.addresses import Reach
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import AddressRefused, TransportError

if TYPE_CHECKING:
    from murmuration.storage.previews import OpenGraph
    from murmuration.transport.exchanges import Exchange

SECONDS = 10.0
"""The time limit for the page, its redirects and its image together."""
MAX_IMAGE_BYTES = 5_000_000
KEPT_MS = 3_600_000
FAILED_MS = 300_000
CLAIM_MS = 15_000
WAIT_STEP_S = 0.3
IMAGE_PREFIX = "preview-"
"""The prefix of the media IDs of images. Their suffix makes the bucket delete them after a while."""
HEADERS = {
    "Accept": "text/html,application/xhtml+xml,image/*;q=0.8,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "Accept-Language": "en;q=0.8,*;q=0.5",
    "User-Agent": "Mozilla/5.0 (compatible; Murmuration; URL preview)",
}


def get_url_preview(requester: Requester, url: str) -> OpenGraph:
    """Return the properties of the page or image at a URL; {} if it has none.

    Raises Unrecognized if the operator has disabled previews, InvalidParam for an invalid URL, Forbidden for
    an address that isn't public, BadGateway if the URL doesn't answer, LimitExceeded.
    """
    if not settings().url_previews:
        raise Unrecognized("This server has no URL previews")
    rate_limits.check("url_preview", requester.user_id)
    asked = _normalized(url)
    digest = digest_of(asked)
    deadline = time.monotonic() + SECONDS
    while True:
        now = now_ms()
        known = storage.read(digest, now_ms=now)
        if known is not None and known.failure is not None:
            raise Refusal(known.failure.status, known.failure.errcode, known.failure.message)
        if known is not None and known.properties is not None:
            return known.properties
        if known is None and storage.claim(digest, now_ms=now, until_ms=now + CLAIM_MS):
            return _ask(digest, asked)
        if time.monotonic() > deadline:
            raise LimitExceeded("The URL is being asked already", retry_after_ms=CLAIM_MS)
        patience.go_on()
        time.sleep(WAIT_STEP_S)


def digest_of(url: str) -> str:
    """Return the digest under which a URL's preview is stored."""
    return encode_urlsafe(hashlib.sha256(url.encode()).digest())


def _normalized(url: str) -> str:
    """Return the URL in the ASCII form in which it is requested. Raises InvalidParam."""
    try:
        parts = urlsplit(url.strip().partition("#")[0])
        if parts.scheme.lower() not in ("http", "https"):
            raise ValueError("only http and https are asked")
        host = (parts.hostname or "").encode("idna").decode() if ":" not in (parts.hostname or "") else ""
        netloc = f"{host}:{parts.port}" if host and parts.port else host or parts.netloc
        if parts.username is not None:
            raise ValueError("it has a user's name before the host")
        path, query = (quote(part, safe="%/:=&?~+!$,;'@()*[]|") for part in (parts.path, parts.query))
        return parse_address(urlunsplit((parts.scheme.lower(), netloc, path or "/", query, ""))).url
    except ValueError as error:
        raise InvalidParam(f"No preview can be had of this URL: {error}") from error


def _ask(digest: str, url: str) -> OpenGraph:
    """Request the URL, and store the outcome."""
    try:
        found = _look_at(url, Deadline(SECONDS))
    except MatrixError as error:
        failure = Failure(error.status, error.errcode, error.message)
        storage.write_failure(digest, failure, expires_ms=now_ms() + FAILED_MS)
        raise
    storage.write(digest, found, expires_ms=now_ms() + KEPT_MS)
    return found


def _look_at(url: str, deadline: Deadline) -> OpenGraph:
    try:
        with following.get(url, _way(), deadline, headers=HEADERS) as (final, answer):
            if not 200 <= answer.status < 300:
                raise BadGateway(f"The URL answered with the status {answer.status}")
            kind = answer.headers.get("content-type", "")
            essence = kind.partition(";")[0].strip().lower()
            if essence.startswith("image/"):
                return _image(_read(answer, MAX_IMAGE_BYTES))
            if essence not in ("text/html", "application/xhtml+xml"):
                return {}
            data = _beginning(answer, pages.MAX_PAGE_BYTES)
    except AddressRefused as error:
        raise Forbidden("The URL leads to an address that isn't public") from error
    except TransportError as error:
        raise BadGateway("The URL didn't answer, or not properly") from error
    said = dict(pages.read_page(data, kind))
    source = said.pop("og:image", "") or said.get("og:image:url", "") or said.get("og:image:secure_url", "")
    kept = {name: value for name, value in said.items() if not name.startswith("og:image")}
    return {**kept, **(_image_at(final, source, deadline) if source else {})}


def _image_at(page: str, source: str, deadline: Deadline) -> OpenGraph:
    """Return the properties of the image that a page names; {} if there is no image that can be shown."""
    try:
        asked = _normalized(following.next_url(page, source))
        with following.get(asked, _way(), deadline, headers=HEADERS) as (_, answer):
            return _image(_read(answer, MAX_IMAGE_BYTES)) if answer.status == 200 else {}
    except (TransportError, InvalidParam):
        return {}


def _way() -> following.Way:
    """Return how connections may be made: to public addresses, with or without TLS; to the loopback only if a
    test's setting allows it.
    """
    config = settings()
    reach = Reach(loopback=config.federation_loopback)
    return following.Way(reach, reach, config.federation_ca)


def _read(answer: Exchange, most: int) -> bytes:
    """Return the whole body; b"" if it is larger than `most` bytes."""
    data = _beginning(answer, most + 1)
    return data if len(data) <= most else b""


def _beginning(answer: Exchange, most: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for piece in answer.chunks(1 << 40):
        pieces.append(piece)
        size += len(piece)
        if size >= most:
            break
    return b"".join(pieces)[:most]


def _image(data: bytes) -> OpenGraph:
    """Store the bytes if they are an image, whatever the header says, and return the image's properties.

    Returns {} for an image that is quarantined.
    """
    from murmuration.media.imaging import describe

    try:
        described = describe(data)
    except MatrixError:
        return {}
    media_id = IMAGE_PREFIX + encode_urlsafe(hashlib.sha256(data).digest())[:32]
    found = fetch(own_read(media_id))
    if found is not None and found.quarantined_ms:
        return {}
    now = now_ms()
    content = Content(f"remote/{media_id}/image", described.content_type, None, len(data), now)
    objects.put(content.object, data, content.content_type)
    storage.write_image(media_id, content, expires_ms=now + settings().remote_media_days * DAY_MS)
    return {
        "og:image": mxc_uri(media_id),
        "og:image:type": described.content_type,
        "og:image:width": described.size[0],
        "og:image:height": described.size[1],
        "matrix:image:size": len(data),
    }
