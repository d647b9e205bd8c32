"""Requests to HTTP APIs other than homeservers, such as identity providers and push gateways.

Only https is allowed, and no redirect is followed. The connection goes to the address that was checked, so a
name can't resolve to another address in between. A deployment with its own identity provider may allow
private addresses, and plain HTTP on the loopback.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlencode, urlsplit

from murmuration.protocol.addresses import parse_address
from murmuration.transport.errors import TransportError

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonDict, JsonObject
    from murmuration.transport.connections import Peer

SECONDS = 10.0
MAX_BYTES = 256 * 1024

OutboundError = TransportError
"""The other server wasn't reached, or gave no valid answer. The message contains no secret."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    retry_after_ms: int = 0
    """The time for which the other server asks to be sent no requests, in milliseconds."""

    def json_object(self) -> JsonDict:
        """Return the body as a JSON object. Raises OutboundError."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise OutboundError("the answer is not JSON") from error
        if not isinstance(value, dict):
            raise OutboundError("the answer is not a JSON object")
        return value


def get(url: str, *, headers: Mapping[str, str] | None = None, private: bool = False) -> Answer:
    """Send a GET request and return the answer. Raises OutboundError."""
    return _request("GET", url, None, headers or {}, private)


def post_form(
    url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None, private: bool = False
) -> Answer:
    """Post a form as HTML does, and return the answer. Raises OutboundError."""
    sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return _request("POST", url, urlencode(form).encode(), sent, private)


def post_json(url: str, value: JsonObject, *, private: bool = False, seconds: float = SECONDS) -> Answer:
    """Post a JSON object, and return the answer. Raises OutboundError."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return _request("POST", url, body, {"Content-Type": "application/json"}, private, seconds)


def _request(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    private: bool,
    seconds: float = SECONDS,
) -> Answer:
    from murmuration.transport.deadlines import Deadline
    from murmuration.transport.exchanges import send

    try:
        parts = urlsplit(parse_address(url).url)
    except ValueError as error:
        raise OutboundError(f"a URL can't be asked: {error}") from error
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    sent = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": "Murmuration",
        "Host": f"{host}:{parts.port}" if parts.port else host,
        **headers,
    }
    with send(_peer(parts, private), method, target, sent, body, Deadline(seconds)) as answer:
        asked = answer.headers.get("retry-after", "").strip()
        pause_ms = int(asked) * 1000 if asked.isdecimal() and len(asked) < 7 else 0
        return Answer(answer.status, answer.read(MAX_BYTES), pause_ms)


def _peer(parts: SplitResult, private: bool) -> Peer:
    """Return the address to connect to. Plain HTTP is allowed only for the loopback, whatever
    `private` says.
    """
    from murmuration.transport.addresses import Reach
    from murmuration.transport.connections import Peer

    hostname = parts.hostname or ""
    if not hostname:
        raise OutboundError("the URL has no host")
    if parts.scheme == "https":
        return Peer(hostname, parts.port or 443, hostname, Reach(private=private))
    if parts.scheme == "http":
        reach = Reach(public=False, loopback=private)
        return Peer(hostname, parts.port or 80, hostname, reach, tls=False)
    raise OutboundError(f"{hostname} must be asked over https")
