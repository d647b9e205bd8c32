"""Who asks for media, and what the request says of how it may be answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from murmuration.identity.tokens import Requester
from murmuration.protocol.errors import InvalidParam

DEFAULT_WAIT_MS = 20_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for media.

    `asker` is the user or the server that asks, and is what waiting and fetching are limited by; "" is nobody
    in particular, who gets only what was there before the deployment's freeze and waits for nothing.
    `may_fetch` says that media of other servers may be fetched for it, `may_redirect` that the answer may be
    a redirect. `range` is the Range header, "" without one.
    """

    asker: str = ""
    timeout_ms: int = DEFAULT_WAIT_MS
    may_fetch: bool = False
    may_redirect: bool = True
    range: str = ""

    @classmethod
    def by_user(cls, requester: Requester, query: Mapping[str, str], headers: Mapping[str, str]) -> Asked:
        """Of the endpoints that need an access token: clients of those follow redirects.

        Raises InvalidParam.
        """
        return cls(requester.user_id, _timeout_ms(query), may_fetch=True, range=_range(headers))

    @classmethod
    def by_anyone(cls, query: Mapping[str, str], headers: Mapping[str, str]) -> Asked:
        """Of the old endpoints without authentication, which redirect only if they are told that they may.

        Nothing is fetched for them: they are frozen. Raises InvalidParam.
        """
        _flag(query, "allow_remote", default=True)
        redirects = _flag(query, "allow_redirect", default=False)
        return cls("", _timeout_ms(query), may_redirect=redirects, range=_range(headers))

    @classmethod
    def by_server(cls, server_name: str, query: Mapping[str, str]) -> Asked:
        """Of another server, which gets what is ours. Raises InvalidParam."""
        return cls(server_name, _timeout_ms(query))


def _timeout_ms(query: Mapping[str, str]) -> int:
    text = query.get("timeout_ms")
    if text is None:
        return DEFAULT_WAIT_MS
    if not (text.isascii() and text.removeprefix("-").isdecimal()) or len(text) > 18:
        raise InvalidParam("timeout_ms must be a whole number")
    return max(0, int(text))


def _flag(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = query.get(name)
    if text is None:
        return default
    if text not in ("true", "false"):
        raise InvalidParam(f"{name} must be true or false")
    return text == "true"


def _range(headers: Mapping[str, str]) -> str:
    """The Range header, unless If-Range makes it depend on what we don't know: then all is sent."""
    return "" if "if-range" in headers else headers.get("range", "").strip()
