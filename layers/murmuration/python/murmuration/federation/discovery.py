"""The information that this server publishes about itself for other servers."""

from __future__ import annotations

from urllib.parse import urlsplit

from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.identifiers import parse_server_name
from murmuration.settings import settings

NAME = "Murmuration"
VERSION = "0.1.0"


def get_version() -> Answer:
    """Return the name and the version of this server's software.

    https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version
    """
    return {"server": {"name": NAME, "version": VERSION}}


def get_wellknown() -> Answer:
    """Return the address and port at which other servers reach this server: the address that clients use.

    Without the port, other servers would use port 8448, where nothing listens. A server name with its own
    port leads to itself. https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
    """
    if parse_server_name(settings().server_name).port is not None:
        return {"m.server": settings().server_name}
    parts = urlsplit(settings().public_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return {"m.server": f"{host}:{parts.port or 443}"}
