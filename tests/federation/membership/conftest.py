"""A remote server that is reached by its name, and what it asks of this one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.federation.network import Network
from tests.federation.peers import Peer, viewer_secret
from tests.federation.remote import Remote
from tests.in_process import Client

__all__ = ["viewer_secret"]


@pytest.fixture
def remote(network: Network, viewer_secret: None, fresh_name: str) -> Remote:
    made = Remote(fresh_name)
    made.serve(network)
    return made


@pytest.fixture
def peer(remote: Remote) -> Peer:
    return Peer(remote)


@pytest.fixture
def alice(make_client: Callable[..., Client]) -> Client:
    return make_client("alice")


@pytest.fixture
def bob(make_client: Callable[..., Client]) -> Client:
    return make_client("bob")
