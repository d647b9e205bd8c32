"""Asks a host for its delegation, `/.well-known/matrix/server`.

https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from murmuration.federation.names import policy
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import NotJson
from murmuration.protocol.identifiers import ServerName, is_valid_server_name, parse_server_name
from murmuration.settings import settings
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import AnswerTooLarge, TransportError

PATH = "/.well-known/matrix/server"
MAX_BYTES = 50 * 1024
SECONDS = 6.0
"""The time limit for all redirects together."""
DEFAULT_S = 24 * 3600
SHORTEST_S = 5 * 60
LONGEST_S = 48 * 3600


class WellKnownError(Exception):
    """There is no valid delegation. `passing` says that a later attempt may find one."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Delegation:
    """The server name that a host delegates to, and for how many seconds that is valid."""

    server_name: ServerName
    lifetime_s: int


def fetch(hostname: str) -> Delegation:
    """Return the host's delegation. Each redirect is checked and then followed. Raises WellKnownError."""
    from murmuration.transport import following

    way = following.Way(policy.reach(), ca_file=settings().federation_ca)
    url, headers = f"https://{hostname}{PATH}", {"Accept": "application/json"}
    try:
        with following.get(url, way, Deadline(SECONDS), headers=headers) as (_, answer):
            if answer.status != 200:
                passing = answer.status >= 500 or answer.status == 429
                raise WellKnownError(f"{hostname} answered {answer.status}", passing=passing)
            return Delegation(_delegate(answer.read(MAX_BYTES)), lifetime(answer.headers))
    except (AnswerTooLarge, following.BadUrl) as error:
        raise WellKnownError(str(error)) from error
    except TransportError as error:
        raise WellKnownError(str(error), passing=True) from error


def lifetime(headers: Mapping[str, str], now_s: float | None = None) -> int:
    """Return for how many seconds an answer with these headers is valid, between 5 minutes and 48 hours."""
    control = headers.get("cache-control", "").lower()
    if re.search(r"(?:^|[\s,])no-(?:store|cache)\b", control):
        return SHORTEST_S
    if found := re.search(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,12})", control):
        return min(max(int(found[1]), SHORTEST_S), LONGEST_S)
    if "expires" in headers:
        return min(max(_until(headers["expires"], now_s), SHORTEST_S), LONGEST_S)
    return DEFAULT_S


def _until(date: str, now_s: float | None) -> int:
    """Return the seconds until an HTTP date; 0 for any other text, as HTTP demands."""
    import time
    from email.utils import parsedate_to_datetime

    try:
        return int(parsedate_to_datetime(date).timestamp() - (time.time() if now_s is None else now_s))
    except (ValueError, TypeError, OverflowError):
        return 0


def _delegate(body: bytes) -> ServerName:
    """Return the `m.server` of a body, whatever its content type. Raises WellKnownError."""
    try:
        value = canonical_json.loads(body)
    except NotJson as error:
        raise WellKnownError("the answer is not JSON") from error
    name = value.get("m.server") if isinstance(value, dict) else None
    if not isinstance(name, str) or not is_valid_server_name(name):
        raise WellKnownError("the answer has no valid m.server")
    port = parse_server_name(name).port
    if port is not None and not 0 < port < 65_536:
        raise WellKnownError("the answer has a port that isn't from 1 to 65535")
    return name
