"""Server ACLs: which servers may take part in a room.

https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms
"""

from __future__ import annotations

from collections.abc import Iterable

from murmuration.protocol.encoding.globs import Glob
from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.identifiers import ServerName, is_valid_server_name, parse_server_name

MAX_PATTERN = 255


class ServerAcl:
    """The compiled content of an `m.room.server_acl` event."""

    __slots__ = ("_allow", "_allow_ip_literals", "_deny")

    def __init__(self, content: Content) -> None:
        """Compile an event's content. A value of the wrong type counts as missing. Without `allow` no server
        is allowed.
        """
        self._allow_ip_literals = content.get("allow_ip_literals") is not False
        self._allow = _globs(content.get("allow"))
        self._deny = _globs(content.get("deny"))

    def allows(self, server_name: ServerName) -> bool:
        """Return whether a server may take part. Its port and case are ignored."""
        if not is_valid_server_name(server_name):
            return False
        host = parse_server_name(server_name).host.lower()
        if not self._allow_ip_literals and _is_ip_literal(host):
            return False
        if any(each.matches(host) for each in self._deny):
            return False
        return any(each.matches(host) for each in self._allow)


def _globs(patterns: object) -> list[Glob]:
    """Return the valid patterns of a list. A pattern longer than any server name is left out, because it
    matches nothing.
    """
    if not isinstance(patterns, list):
        return []
    texts: Iterable[str] = dict.fromkeys(each for each in patterns if isinstance(each, str))
    return [
        Glob(each, words=False, case_sensitive=False, question_mark=True)
        for each in texts
        if len(each) <= MAX_PATTERN
    ]


def _is_ip_literal(host: str) -> bool:
    return host.startswith("[") or host.replace(".", "").isdigit()
