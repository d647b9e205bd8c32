"""Asks a host for its delegation, `/.well-known/matrix/server`.

https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from murmuration.federation.names import policy
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import NotJson
from murmuration.protocol.identifiers import is_valid_server_name, parse_server_name
from murmuration.settings import settings
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import AnswerTooLarge, TransportError

PATH = "/.well-known/matrix/server"
MAX_BYTES = 50 * 1024
MAX_REDIRECTS = 5
SECONDS = 6.0
"""For all redirects together."""
DEFAULT_S = 24 * 3600
SHORTEST_S = 5 * 60
LONGEST_S = 48 * 3600
_REDIRECTS = (301, 302, 303, 307, 308)


class WellKnownError(Exception):
    """There is no valid delegation. `passing` says that another try may find one."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Delegation:
    """The server name that a host delegates to, and for how many seconds that counts."""

    server_name: str
    lifetime_s: int


def fetch(hostname: str) -> Delegation:
    """The host's delegation. Follows redirects, of which each is checked. Raises WellKnownError."""
    deadline = Deadline(SECONDS)
    url = f"https://{hostname}{PATH}"
    for _ in range(MAX_REDIRECTS + 1):
        try:
            status, headers, body = _ask(_split(url), deadline)
        except AnswerTooLarge as error:
            raise WellKnownError(str(error)) from error
        except TransportError as error:
            raise WellKnownError(str(error), passing=True) from error
        if status in _REDIRECTS and (location := headers.get("location")):
            url = _next(url, location)
            continue
        if status != 200:
            raise WellKnownError(f"{hostname} answered {status}", passing=status >= 500 or status == 429)
        return Delegation(_delegate(body), lifetime(headers))
    raise WellKnownError(f"{hostname} redirects more than {MAX_REDIRECTS} times")


def lifetime(headers: Mapping[str, str], now_s: float | None = None) -> int:
    """How long an answer with these headers counts, in seconds, between 5 minutes and 48 hours."""
    control = headers.get("cache-control", "").lower()
    if re.search(r"(?:^|[\s,])no-(?:store|cache)\b", control):
        return SHORTEST_S
    if found := re.search(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,12})", control):
        return min(max(int(found[1]), SHORTEST_S), LONGEST_S)
    if "expires" in headers:
        return min(max(_until(headers["expires"], now_s), SHORTEST_S), LONGEST_S)
    return DEFAULT_S


def _until(date: str, now_s: float | None) -> int:
    """The seconds until an HTTP date; 0 for what isn't one, as HTTP demands."""
    import time
    from email.utils import parsedate_to_datetime

    try:
        return int(parsedate_to_datetime(date).timestamp() - (time.time() if now_s is None else now_s))
    except (ValueError, TypeError, OverflowError):
        return 0


def _ask(parts: SplitResult, deadline: Deadline) -> tuple[int, Mapping[str, str], bytes]:
    from murmuration.transport.connections import Peer
    from murmuration.transport.exchanges import send

    hostname = parts.hostname or ""
    host = f"[{hostname}]" if ":" in hostname else hostname
    peer = Peer(hostname, parts.port or 443, hostname, policy.reach(), ca_file=settings().federation_ca)
    headers = {
        "Host": f"{host}:{parts.port}" if parts.port else host,
        "Accept": "application/json",
        "User-Agent": "Murmuration",
    }
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with send(peer, "GET", target, headers, None, deadline) as answer:
        # The body of a redirect says nothing; to read it would be to wait for it.
        body = answer.read(MAX_BYTES) if answer.status == 200 else b""
        return answer.status, answer.headers, body


def _next(url: str, location: str) -> str:
    """Where a redirect leads. Raises WellKnownError."""
    try:
        found = urljoin(url, location.strip())
        _split(found)
        found.encode("ascii")
    except ValueError as error:
        raise WellKnownError("a redirect leads to what is no URL") from error
    return found.partition("#")[0]


def _split(url: str) -> SplitResult:
    """The parts of a URL that may be asked. Raises WellKnownError, ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise WellKnownError("a redirect leads to a URL that isn't https, or has credentials")
    _ = parts.port
    return parts


def _delegate(body: bytes) -> str:
    """The `m.server` of a body, whatever its content type. Raises WellKnownError."""
    try:
        value = canonical_json.loads(body)
    except NotJson as error:
        raise WellKnownError("the answer is not JSON") from error
    name = value.get("m.server") if isinstance(value, dict) else None
    if not isinstance(name, str) or not is_valid_server_name(name):
        raise WellKnownError("the answer has no valid m.server")
    port = parse_server_name(name).port
    if port is not None and not 0 < port < 65_536:
        raise WellKnownError("the answer has a port that can't be")
    return name
