"""Requests to HTTP APIs of others: over TLS, to public addresses, with bounds on time and size.

Only https is spoken, no redirect is followed, and the address that was checked is the one connected to, so
that a name can't point to one address for the check and to another for the request. A deployment whose
identity providers are at home may allow private addresses, and plain HTTP on the loopback.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlencode, urlsplit

from murmuration.protocol.addresses import parse_address

if TYPE_CHECKING:
    from urllib3 import HTTPConnectionPool

CONNECT_SECONDS = 3.0
READ_SECONDS = 7.0
MAX_BYTES = 256 * 1024


class OutboundError(Exception):
    """The other server wasn't reached, or didn't answer as it should; the message has no secret in it."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises OutboundError."""
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise OutboundError("the answer is not JSON") from error
        if not isinstance(value, dict):
            raise OutboundError("the answer is not a JSON object")
        return value


def get(url: str, *, headers: Mapping[str, str] | None = None, private: bool = False) -> Answer:
    """Raises OutboundError."""
    return _request("GET", url, None, headers or {}, private)


def post_form(
    url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None, private: bool = False
) -> Answer:
    """Post a form as HTML does. Raises OutboundError."""
    sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return _request("POST", url, urlencode(form).encode(), sent, private)


def _request(method: str, url: str, body: bytes | None, headers: Mapping[str, str], private: bool) -> Answer:
    import urllib3

    try:
        parts = urlsplit(parse_address(url).url)
    except ValueError as error:
        raise OutboundError(f"a URL can't be asked: {error}") from error
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    sent = {"Accept": "application/json", "User-Agent": "Murmuration", "Host": host, **headers}
    pool = _pool(parts, private)
    try:
        answer = pool.urlopen(
            method, target, body=body, headers=sent, redirect=False, retries=False, preload_content=False
        )
        content = answer.read(MAX_BYTES + 1, decode_content=True)
        answer.release_conn()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise OutboundError(f"{parts.hostname} was not reached: {type(error).__name__}") from error
    finally:
        pool.close()
    if len(content) > MAX_BYTES:
        raise OutboundError(f"{parts.hostname} answered with more than {MAX_BYTES} bytes")
    return Answer(answer.status, content)


def _pool(parts: SplitResult, private: bool) -> HTTPConnectionPool:
    import urllib3

    hostname = parts.hostname or ""
    try:
        address = _address(hostname, parts.port or (443 if parts.scheme == "https" else 80))
    except (OSError, ValueError) as error:
        raise OutboundError(f"the host {hostname} has no address") from error
    if not private and not address.is_global:
        raise OutboundError(f"the host {hostname} has an address that isn't public")
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    if parts.scheme == "https":
        return urllib3.HTTPSConnectionPool(
            str(address), parts.port or 443, timeout=timeout, maxsize=1,
            server_hostname=hostname, assert_hostname=hostname, cert_reqs="CERT_REQUIRED",
        )  # fmt: skip
    if parts.scheme == "http" and private and address.is_loopback:
        return urllib3.HTTPConnectionPool(str(address), parts.port or 80, timeout=timeout, maxsize=1)
    raise OutboundError(f"{hostname} must be asked over https")


def _address(hostname: str, port: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = socket.getaddrinfo(hostname, port, type=socket.SOCK_STREAM)
    # Lambda's network is IPv4; where both are at hand, either does.
    preferred = sorted(found, key=lambda each: each[0] != socket.AF_INET)
    return ipaddress.ip_address(preferred[0][4][0])
