"""A small policy server: it signs what it is told to allow, and refuses the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import ServerName
from murmuration.protocol.pdus.signing import SigningKey, sign_event
from tests.federation.inbound.conftest import _viewer_secret, worker
from tests.federation.network import Network, Received, Reply
from tests.federation.peers import Peer, make_peer, share_room
from tests.in_process import Client
from tests.rooms.other_servers import Mirror, key_of
from tests.rooms.people import set_state
from tests.sync.conftest import sqs

__all__ = ["_viewer_secret", "sqs", "worker"]
SIGN = "/_matrix/policy/v1/sign"
SPAM = Reply({"errcode": "M_FORBIDDEN", "error": "This looks like spam", "example.score": 7}, 400)


@dataclass
class PolicyServer(Peer):
    """`judge` says whether it signs a PDU: True, or what it answers instead."""

    judge: Callable[[dict[str, Any]], Any] = lambda _: True
    policy_key: SigningKey = field(default_factory=lambda: SigningKey(b"p" * 32, "policy_server"))
    judged: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, received: Received) -> Reply:
        if received.target != SIGN:
            return super().answer(received)
        assert received.method == "POST"
        pdu = json.loads(received.body)
        self.judged.append(pdu)
        verdict = self.judge(pdu)
        if verdict is True:
            return Reply({self.name: {"ed25519:policy_server": self.signature(pdu)}})
        return verdict if isinstance(verdict, Reply) else Reply(verdict)

    def signature(self, pdu: Mapping[str, Any]) -> str:
        bare: Any = {name: value for name, value in pdu.items() if name not in ("signatures", "unsigned")}
        signed = sign_event(bare, ServerName(self.name), self.policy_key, self.room.version)
        return str(signed["signatures"][self.name]["ed25519:policy_server"])

    def endorse(self, event: Event) -> Event:
        """Return the event with this server's policy signature, as the sender's server would get it."""
        given = event.pdu["signatures"]
        own = {**given.get(self.name, {}), "ed25519:policy_server": self.signature(event.pdu)}
        pdu: Any = {**event.pdu, "signatures": {**given, self.name: own}}
        return Event(pdu, event.room_version, event.event_id)

    def forbid(self, word: str, reply: Any = SPAM) -> None:
        """Refuse events whose content contains this word."""
        self.judge = lambda pdu: reply if word in json.dumps(pdu["content"]) else True

    @property
    def texts(self) -> list[str]:
        """The texts of the events that it was asked about."""
        return [pdu["content"].get("body", pdu["type"]) for pdu in self.judged]


@pytest.fixture
def policy(network: Network, fresh_name: str) -> PolicyServer:
    name = ServerName(f"policy-{fresh_name}")
    made = PolicyServer(name, key_of(name))
    made.serve(network)
    return made


@pytest.fixture
def peer(network: Network, fresh_name: ServerName) -> Peer:
    return make_peer(network, fresh_name)


def guard(client: Client, mirror: Mirror, policy: PolicyServer, **changes: Any) -> str:
    """Make a room use the policy server."""
    content = {"via": policy.name, "public_keys": {"ed25519": policy.policy_key.public_base64}, **changes}
    event_id = set_state(client, mirror.room_id, "m.room.policy", content)
    mirror.catch_up()
    return event_id


@pytest.fixture
def mirror(alice: Client, peer: Peer, policy: PolicyServer) -> Mirror:
    """Return a room of Alice's with Bob of another server, and a policy server, which has a user in it."""
    made = share_room(alice, peer, policy)
    guard(alice, made, policy)
    return made
