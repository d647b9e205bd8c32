"""A bucket, and another server that has media."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from murmuration.aws import parameters
from murmuration.protocol.encoding.multipart import build
from murmuration.protocol.identifiers import ServerName
from murmuration.settings import settings
from tests.federation.asking import SECRET, Peer
from tests.federation.network import Network, Received, Reply
from tests.federation.remote import Remote
from tests.logged_in import log_in
from tests.media.conftest import alice, bob, bucket

__all__ = ["alice", "bob", "bucket"]

NEW = "/_matrix/federation/v1/media/download/"
OLD = "/_matrix/media/v3/download/"


def two_parts(headers: dict[str, str], data: bytes, boundary: str = "b0undary") -> Reply:
    """Return the answer of the federation's endpoint, in two parts."""
    body = build(boundary, [({"Content-Type": "application/json"}, b"{}"), (headers, data)])
    return Reply(body, headers={"Content-Type": f"multipart/mixed; boundary={boundary}"})


def unknown_endpoint(_: Received) -> Reply:
    return Reply({"errcode": "M_UNRECOGNIZED", "error": "Unknown"}, 404)


@dataclass
class Library(Remote):
    """A server whose endpoints for media answer what the test says; `asked` are their targets."""

    new: Callable[[Received], Reply] = unknown_endpoint
    by_old_path: Callable[[Received], Reply] = unknown_endpoint
    asked: list[Received] = field(default_factory=list)

    def answer(self, received: Received) -> Reply:
        for path, handler in ((NEW, self.new), (OLD, self.by_old_path)):
            if received.target.startswith(path):
                self.asked.append(received)
                return handler(received)
        return super().answer(received)


@pytest.fixture
def library(bucket: str, network: Network, fresh_name: ServerName) -> Library:
    made = Library(fresh_name)
    made.serve(network)
    return made


@pytest.fixture
def server(bucket: str, network: Network, fresh_name: str, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """Another server that asks this one."""
    remote = Remote(ServerName(f"asks-{fresh_name}"))
    remote.serve(network)
    monkeypatch.setenv("MURMURATION_VIEWER_SECRET_PARAMETER", "/secret")
    monkeypatch.setattr(parameters, "read_secret", lambda _: SECRET)
    settings.cache_clear()
    return Peer(remote)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()


@pytest.fixture
def another(bucket: str, fresh_user_id: Any) -> Any:
    return log_in(fresh_user_id("another"))
