"""Checks untrusted URLs that people or programs will follow, so that no two readers understand them
differently.

Browsers follow https://url.spec.whatwg.org, Python follows RFC 3986. A URL is refused if the two may differ,
or if a person may mistake its host for another one.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_LENGTH = 2048
WEB = frozenset(("http", "https"))
_SPECIAL = WEB | {"ftp", "ws", "wss"}
"""Schemes whose URLs have a host: a browser finds a host even in `https:a.b`."""
_SCRIPTS = frozenset(
    ("about", "blob", "data", "file", "filesystem", "javascript", "vbscript", "view-source", "jar", "intent")
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\.?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL. `host` is in ASCII, "" if there is none; `url` is the URL with that host."""

    scheme: str
    host: str
    port: int | None
    url: str

    @property
    def shown(self) -> str:
        """A short form for people that says where the URL leads: the host, or the scheme of a URL that opens
        an app.
        """
        if not self.host:
            return f"{self.scheme}:"
        host = self.host if self.port is None else f"{self.host}:{self.port}"
        return host if self.scheme in WEB else f"{self.scheme}://{host}"


def parse_address(url: str) -> Address:
    """Return the parts of a URL. Raises ValueError, with the reason, for one that is invalid or may
    mislead.
    """
    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    if not colon or not _SCHEME.fullmatch(scheme) or scheme in _SCRIPTS:
        raise ValueError("it has no scheme that can be followed")
    if len(url) > MAX_LENGTH or not url.isprintable() or " " in url:
        raise ValueError("it is too long, or has spaces or control characters")
    if "\\" in url:
        raise ValueError("it has a backslash, which browsers take for a slash")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("it has a user's name before the host")
    if not parts.netloc:
        if scheme in _SPECIAL or rest.startswith("//"):
            raise ValueError("it has no host")
        return Address(scheme, "", None, url)
    host, port = _ascii_host(parts.hostname or "", literal="[" in parts.netloc), parts.port
    netloc = host if port is None else f"{host}:{port}"
    return Address(scheme, host, port, f"{url[: len(scheme)]}://{netloc}{rest[2 + len(parts.netloc) :]}")


def is_web_url(url: object) -> bool:
    """Return whether it is an http: or https: URL that `parse_address` accepts."""
    if not isinstance(url, str):
        return False
    try:
        return parse_address(url).scheme in WEB
    except ValueError:
        return False


def _ascii_host(host: str, *, literal: bool) -> str:
    """Return a host in the form in which it is looked up. `literal` says that it is an address in brackets.
    Raises ValueError.
    """
    if literal:
        return f"[{ipaddress.IPv6Address(host)}]"
    name = host if host.isascii() else ".".join(map(_ascii_label, host.split(".")))
    if len(name) > 253 or not _HOST.fullmatch(name):
        raise ValueError("its host is not a name")
    if _NUMBER.fullmatch(name.rstrip(".").rpartition(".")[2]):
        return str(ipaddress.IPv4Address(name))  # browsers also accept other notations of an IPv4 address
    return name


def _ascii_label(label: str) -> str:
    """Return a label of an internationalised name in ASCII (https://www.rfc-editor.org/rfc/rfc3490). Raises
    ValueError.

    A label that isn't in its normal form is refused: browsers disagree about its meaning.
    """
    encoded = label.encode("idna")
    if encoded.decode("idna") != label:
        raise ValueError("its host is not in its normal form")
    return encoded.decode()
