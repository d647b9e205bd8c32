"""A small policy server: a homeserver of ours that also signs events, unless they have a forbidden word."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from local_cloud.federate.certificates import Authority
from murmuration.protocol.identifiers import ServerName
from murmuration.protocol.pdus.signing import SigningKey, sign_event
from murmuration.protocol.room_versions import RoomVersion
from tests.federation.network import Received, Reply, TlsServer

from .servers import Ours

SIGN = "/_matrix/policy/v1/sign"
FORBIDDEN = "spam"
_JSON = {"Content-Type": "application/json"}
_PASSED_BACK = ("content-type", "content-encoding")


class PolicyServer:
    """It listens under its name, answers requests for signatures, and passes all else to its homeserver."""

    def __init__(self, folder: Path, authority: Authority, version: RoomVersion) -> None:
        self.key = SigningKey(b"p" * 32, "policy_server")
        self._version = version
        self._context = ssl.create_default_context(cafile=str(authority.ca))
        self._front = TlsServer(authority, ("localhost", "127.0.0.1"), self._answer)
        self.name = f"localhost:{self._front.port}"
        self.homeserver = Ours(folder, authority, None, **{"server-name": self.name})
        self.judged: list[str] = []

    @property
    def content(self) -> dict[str, Any]:
        """The content of `m.room.policy` for rooms that use it."""
        return {"via": self.name, "public_keys": {"ed25519": self.key.public_base64}}

    def start(self) -> None:
        self.homeserver.start()

    def stop(self) -> None:
        self.homeserver.stop()
        self._front.stop()

    def _answer(self, received: Received) -> Reply:
        if received.target == SIGN:
            return self._judge(json.loads(received.body))
        return self._pass_on(received)

    def _judge(self, pdu: dict[str, Any]) -> Reply:
        text = json.dumps(pdu["content"])
        self.judged.append(text)
        if FORBIDDEN in text:
            return Reply({"errcode": "M_FORBIDDEN", "error": "This looks like spam"}, 400, _JSON)
        bare: Any = {name: value for name, value in pdu.items() if name not in ("signatures", "unsigned")}
        signed = sign_event(bare, ServerName(self.name), self.key, self._version)
        return Reply({self.name: signed["signatures"][self.name]}, headers=_JSON)

    def _pass_on(self, received: Received) -> Reply:
        port = int(self.homeserver.cloud.options["federation-port"])
        connection = http.client.HTTPSConnection("localhost", port, timeout=60, context=self._context)
        try:
            connection.request(received.method, received.target, received.body, dict(received.headers))
            answer = connection.getresponse()
            headers = {name: value for name in _PASSED_BACK if (value := answer.headers.get(name))}
            return Reply(answer.read(), answer.status, headers)
        finally:
            connection.close()
