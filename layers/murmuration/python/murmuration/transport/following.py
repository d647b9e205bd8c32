"""Sends a GET request to a URL that comes from others, and follows its redirects.

Each hop is treated as a new URL: its scheme, host and address are checked, and no credentials are sent. So a
redirect reaches nothing that the first URL couldn't have named.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import TransportError

if TYPE_CHECKING:
    from murmuration.transport.addresses import Reach
    from murmuration.transport.connections import Peer
    from murmuration.transport.exchanges import Exchange

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 5
USER_AGENT = "Murmuration"


class BadUrl(TransportError):
    """A URL, or one to which a redirect leads, may not be requested."""


@dataclass(frozen=True, slots=True)
class Way:
    """The addresses that may be requested over TLS, and those by plain HTTP. `ca_file` names further
    authorities.
    """

    reach: Reach
    plain: Reach | None = None
    ca_file: str = ""


@contextmanager
def get(
    url: str, way: Way, deadline: Deadline, *, headers: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Exchange]]:
    """Yield the last URL of the redirects, and its answer, whatever its status.

    `headers` are sent to each hop, so they must contain no credentials. Raises BadUrl, TransportError.
    """
    from murmuration.transport.exchanges import send

    for _ in range(MOST_REDIRECTS + 1):
        parts = _split(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
        sent = {
            "Host": f"{host}:{parts.port}" if parts.port else host,
            "User-Agent": USER_AGENT,
            **(headers or {}),
        }
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with send(_peer(parts, way), "GET", target, sent, None, deadline) as exchange:
            location = _escaped(exchange.headers.get("location", ""))
            if exchange.status not in REDIRECTS or not location:
                yield url, exchange
                return
        url = next_url(url, location)
    raise BadUrl(f"it redirects more than {MOST_REDIRECTS} times")


def _escaped(location: str) -> str:
    """Return a header's value with spaces and non-ASCII characters escaped, as browsers follow it."""
    return quote(location.strip().encode("latin-1", "replace"), safe=string.punctuation)


def next_url(url: str, location: str) -> str:
    """Return the URL to which a redirect of `url` leads, without a fragment. Raises BadUrl."""
    try:
        return urljoin(url, location.strip()).partition("#")[0]
    except ValueError as error:
        raise BadUrl("a redirect leads to something that isn't a URL") from error


def _split(url: str) -> SplitResult:
    """Return the parts of a URL that can be requested. Raises BadUrl."""
    try:
        url.encode("ascii")
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BadUrl("it isn't a URL") from error
    if any(character <= " " or character in '\x7f\\<>"' for character in url):
        raise BadUrl("it has characters that a URL can't have")
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None:
        raise BadUrl("it isn't https, has no host, or has credentials")
    return parts


def _peer(parts: SplitResult, way: Way) -> Peer:
    """Return the peer of a URL. Raises BadUrl for plain HTTP if that isn't allowed."""
    from murmuration.transport.connections import Peer

    hostname = parts.hostname or ""
    if parts.scheme == "https":
        return Peer(hostname, parts.port or 443, hostname, way.reach, ca_file=way.ca_file)
    if way.plain is None:
        raise BadUrl("it isn't https")
    return Peer(hostname, parts.port or 80, hostname, way.plain, tls=False)
