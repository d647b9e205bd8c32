"""The signing keys of the made-up servers that take part in the cases.

Seeds are fixed so that recording twice gives the same bytes; these keys sign nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

LOCAL = "synapse.example"
REMOTE = "remote.example:8448"
IDENTITY = "identity.example"


@dataclass(frozen=True)
class KeySeed:
    """An Ed25519 signing key: 32 bytes of seed and the version in the key's ID."""

    server_name: str
    version: str
    seed: bytes

    @property
    def key_id(self) -> str:
        return f"ed25519:{self.version}"


def _seed(server_name: str, version: str) -> KeySeed:
    return KeySeed(server_name, version, hashlib.sha256(f"interop {server_name}".encode()).digest())


KEYS = {
    LOCAL: _seed(LOCAL, "a_Key1"),
    REMOTE: _seed(REMOTE, "1"),
    IDENTITY: _seed(IDENTITY, "0"),
}


class Signer(Protocol):
    """What the cases need of an implementation to make signed objects."""

    def sign_json(self, value: dict[str, Any], server_name: str) -> dict[str, Any]:
        """Return the object with the server's signature under `signatures`."""

    def public_key(self, server_name: str) -> str:
        """Return the server's public key as unpadded base64."""
