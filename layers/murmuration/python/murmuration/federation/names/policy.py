"""Decides by the operator's lists which servers this one communicates with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.protocol.encoding.globs import glob
from murmuration.protocol.errors import Forbidden
from murmuration.settings import settings
from murmuration.transport.addresses import Reach

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName


def is_allowed(server_name: ServerName) -> bool:
    """Return whether this server contacts `server_name` and answers it. The deny list overrides the allow
    list.
    """
    config = settings()
    if not config.federation or _listed(server_name, config.federation_deny):
        return False
    return not config.federation_allow or _listed(server_name, config.federation_allow)


def require_allowed(server_name: ServerName) -> None:
    """Raise Forbidden for a server that `is_allowed` refuses."""
    if not settings().federation:
        raise Forbidden("This server does not federate")
    if not is_allowed(server_name):
        raise Forbidden("This server does not federate with yours")


def reach() -> Reach:
    """Return the kinds of addresses at which servers may be: public ones, and the loopback if a setting
    allows it.
    """
    return Reach(loopback=settings().federation_loopback)


def _listed(server_name: ServerName, patterns: tuple[str, ...]) -> bool:
    """Return whether one of the globs matches the name, or the name without its port."""
    from murmuration.protocol.identifiers import parse_server_name

    names = (server_name, parse_server_name(server_name).host)
    return any(glob(pattern).matches(name) for pattern in patterns for name in names)
