"""Local clouds that federate over TLS."""

from __future__ import annotations

from pathlib import Path

from local_cloud.database.dynoxide import free_port
from local_cloud.federate.certificates import Authority
from local_cloud.testing import LocalCloud


def federating(authority: Authority, **more: str) -> dict[str, str]:
    """Return the options of a local cloud that other servers on this machine can reach, and `more`."""
    certificate, key = authority.files("localhost", "127.0.0.1")
    port = free_port()
    return {
        "server-name": f"localhost:{port}",
        "federation-port": str(port),
        "tls-cert": str(certificate),
        "tls-key": str(key),
        "ca": str(authority.ca),
        "allow-loopback": "on",
        **more,
    }


def start(folder: Path, authority: Authority, **more: str) -> LocalCloud:
    """Start a local cloud that federates."""
    cloud = LocalCloud(folder, federating(authority, **more))
    cloud.start()
    return cloud
