"""A remote server that is reached by its name, and its requests to this one."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.identifiers import ServerName
from tests.federation.asking import Peer, viewer_secret
from tests.federation.hosting import Host
from tests.federation.network import Network
from tests.federation.remote import Remote

__all__ = ["viewer_secret"]


@pytest.fixture
def remote(network: Network, viewer_secret: None, fresh_name: ServerName) -> Remote:
    made = Remote(fresh_name)
    made.serve(network)
    return made


@pytest.fixture
def peer(remote: Remote) -> Peer:
    return Peer(remote)


@pytest.fixture
def host(network: Network, viewer_secret: None, fresh_name: str) -> Host:
    """Return a server with rooms of its own."""
    return Host(Remote(ServerName(f"host.{fresh_name}")), network)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the list of queued messages to the workers of joins. Messages without a delay are processed at
    once.
    """
    from functions.workers.joins.join_remote_room import handler
    from local_cloud.permissions import acting_for
    from murmuration.aws import queues

    sent: list[dict[str, Any]] = []

    def send(name: str, body: dict[str, Any], delay_s: int = 0) -> None:
        if name == "delayed-events":
            return
        assert name == "remote-joins"
        sent.append(body)
        if not delay_s:
            with acting_for("workers.joins"):
                handler.function(body)

    monkeypatch.setattr(queues, "send", send)
    monkeypatch.setattr(queues, "send_later", send)
    return sent
