"""A made-up network, and remote servers in it."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import dns.resolver
import pytest

from local_cloud.database.dynoxide import DynoxideError, find_binary
from local_cloud.federate.certificates import Authority
from local_cloud.testing import LocalCloud
from murmuration import clock
from tests.federation.clouds import start
from tests.federation.network import Network
from tests.federation.outbound import Peer, Workers
from tests.sync.conftest import sqs

__all__ = ["sqs"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def two(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LocalCloud]]:
    """Two local clouds that federate with each other, for a whole file."""
    try:
        find_binary()
    except DynoxideError as error:
        pytest.skip(str(error))
    clouds = [start(tmp_path_factory.mktemp("cloud"), authority) for _ in range(2)]
    yield clouds
    for cloud in clouds:
        cloud.stop()


@pytest.fixture
def network(deployment: None, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """Replace names and records by the test's, allow the loopback, and clear the process's caches."""
    from murmuration.federation.keys import fetching
    from murmuration.federation.names import resolving
    from murmuration.federation.requests import health
    from murmuration.settings import settings
    from murmuration.transport import connections

    monkeypatch.setenv("MURMURATION_FEDERATION_LOOPBACK", "on")
    monkeypatch.setenv("MURMURATION_FEDERATION_CA", str(authority.ca))
    monkeypatch.setenv("MURMURATION_KEY_NOTARIES", "")
    settings.cache_clear()
    made = Network(authority)
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    monkeypatch.setattr(dns.resolver, "resolve", made.resolve)
    for each in (fetching, resolving, health, connections.KEPT_CONNECTIONS):
        each.forget()
    yield made
    made.stop()
    connections.KEPT_CONNECTIONS.forget()
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def fresh_name() -> str:
    """Return a server name that no other test of the run uses."""
    return f"server-{os.getpid()}-{next(_numbers)}.example"


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        self._real = clock.now_ms

    def now_ms(self) -> int:
        return self._real() + self.ahead_ms

    def advance(self, seconds: float) -> None:
        self.ahead_ms += int(seconds * 1000)


@pytest.fixture
def moving_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Move the clock of everything in the federation's modules."""
    import importlib

    made = Clock()
    for name in ("federation.names.resolving", "federation.requests.health", "federation.requests.client",
                 "federation.keys.fetching", "federation.keys.documents", "federation.keys.notary",
                 "federation.keys.published", "federation.authentication", "federation.outbound.catching_up",
                 "federation.outbound.fan_out", "federation.outbound.refusals",
                 "federation.outbound.retrying", "federation.outbound.transactions",
                 "server_keys"):  # fmt: skip
        monkeypatch.setattr(importlib.import_module(f"murmuration.{name}"), "now_ms", made.now_ms)
    return made


@pytest.fixture
def workers(network: Network, sqs: Any) -> Workers:
    return Workers(sqs)


@pytest.fixture
def make_peer(network: Network, fresh_name: str) -> Callable[..., Peer]:
    made: list[Peer] = []

    def make() -> Peer:
        peer = Peer(f"p{len(made)}-{fresh_name}")
        peer.start(network)
        made.append(peer)
        return peer

    return make


@pytest.fixture
def peer(make_peer: Callable[[], Peer]) -> Peer:
    return make_peer()
