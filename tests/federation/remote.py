"""A made-up homeserver: its keys, its signed requests, its key document on the made-up network."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from murmuration.protocol.encoding import canonical_json, x_matrix
from murmuration.protocol.identifiers import ServerName
from murmuration.protocol.pdus.keys import VerifyKey, build_server_keys
from murmuration.protocol.pdus.signing import SigningKey
from tests.conftest import SERVER_NAME
from tests.federation.network import Network, Received, Reply, TlsServer

HOUR_MS = 3_600_000


@dataclass
class Remote:
    """A server called `name`, reached by its name and port 8448."""

    name: ServerName
    key: SigningKey = field(default_factory=lambda: SigningKey(b"r" * 32, "r1"))
    old: list[VerifyKey] = field(default_factory=list)
    valid_ms: int = 24 * HOUR_MS
    server: TlsServer | None = None

    def document(self) -> Any:
        return build_server_keys(self.name, [self.key], int(time.time() * 1000) + self.valid_ms, self.old)

    def serve(self, network: Network) -> TlsServer:
        """Publish the keys."""
        self.server = network.serve(self.answer, self.name)
        network.at(self.name, 8448, self.server)
        return self.server

    def answer(self, received: Received) -> Reply:
        if received.target == "/_matrix/key/v2/server":
            return Reply(self.document())
        return Reply({"errcode": "M_UNRECOGNIZED", "error": "Unknown"}, 404)

    def authorization(
        self, method: str, uri: str, content: Any = x_matrix.ABSENT, destination: str = SERVER_NAME
    ) -> str:
        return x_matrix.authorization(self.key, method, uri, self.name, ServerName(destination), content)


def notary_of(documents: list[dict[str, Any]]) -> Any:
    """Return a handler that answers as a notary with these documents, and adds the requests' bodies to
    `asked`.
    """
    asked: list[Any] = []

    def answer(received: Received) -> Reply:
        asked.append(json.loads(received.body))
        return Reply({"server_keys": documents})

    answer.asked = asked  # type: ignore[attr-defined]
    return answer


def encode(value: Any) -> bytes:
    return canonical_json.encode(value, strict=False)
