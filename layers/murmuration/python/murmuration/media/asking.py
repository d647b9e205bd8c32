"""Requests for media: who makes them, and which answers they allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.identity.tokens import Requester
from murmuration.media.headers import ETAG
from murmuration.protocol.errors import InvalidParam

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

DEFAULT_WAIT_MS = 20_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for media.

    `asker` is the user or the server that asks, for the limits on waiting and fetching; "" for the old
    endpoints without authentication, which get only media from before the deployment's freeze and don't wait.
    `may_fetch` allows fetching media of other servers, `may_redirect` allows a redirect as the answer.
    `range` is the Range header, "" without one. `is_known` says that the client has the media already.
    `is_head` says that it wants the headers only.
    """

    asker: str = ""
    timeout_ms: int = DEFAULT_WAIT_MS
    may_fetch: bool = False
    may_redirect: bool = True
    range: str = ""
    is_known: bool = False
    is_head: bool = False

    @classmethod
    def by_user(
        cls,
        requester: Requester,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        is_head: bool = False,
    ) -> Asked:
        """Return the request of an endpoint with an access token: its clients follow redirects.

        Raises InvalidParam.
        """
        wait, known = _timeout_ms(query), _is_known(headers)
        return cls(
            requester.user_id,
            wait,
            may_fetch=True,
            range=_range(headers),
            is_known=known,
            is_head=is_head,
        )

    @classmethod
    def by_anyone(cls, query: Mapping[str, str], headers: Mapping[str, str]) -> Asked:
        """Return the request of an old endpoint without authentication.

        It never fetches media from other servers, and redirects only if the parameter `allow_redirect` says
        so. Raises InvalidParam.
        """
        _flag(query, "allow_remote", default=True)
        redirects = _flag(query, "allow_redirect", default=False)
        wait, known = _timeout_ms(query), _is_known(headers)
        return cls("", wait, may_redirect=redirects, range=_range(headers), is_known=known)

    @classmethod
    def by_server(cls, server_name: ServerName, query: Mapping[str, str]) -> Asked:
        """Return another server's request, which gets this server's media only. Raises InvalidParam."""
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
    """Return the Range header; "" if If-Range names another version of the media: then everything is sent."""
    return headers.get("range", "").strip() if headers.get("if-range", ETAG).strip() == ETAG else ""


def _is_known(headers: Mapping[str, str]) -> bool:
    """Return whether the client has this version already.

    https://www.rfc-editor.org/rfc/rfc9110#name-if-none-match
    """
    tags = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    return ETAG in tags or tags == ["*"]
