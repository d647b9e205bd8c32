"""Alice here, a peer elsewhere, and the queue between them."""

from __future__ import annotations

import pytest

from local_cloud.aws.sqs import Sqs
from murmuration.aws import dynamodb, parameters
from murmuration.protocol.identifiers import ServerName
from murmuration.settings import settings
from murmuration.storage import parked
from tests.federation.network import Network
from tests.federation.peers import SECRET, Peer, Worker, make_peer
from tests.sync.conftest import sqs  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def _viewer_secret(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the secret that the viewer side puts on requests."""
    monkeypatch.setenv("MURMURATION_VIEWER_SECRET_PARAMETER", "viewer-secret")
    monkeypatch.setattr(parameters, "read_secret", lambda _: SECRET)
    settings.cache_clear()


@pytest.fixture
def peer(network: Network, fresh_name: str) -> Peer:
    return make_peer(network, ServerName(fresh_name))


@pytest.fixture
def third(network: Network, fresh_name: str) -> Peer:
    """Return another server, which only records the requests that it gets."""
    return make_peer(network, ServerName(f"third-{fresh_name}"))


@pytest.fixture
def worker(sqs: Sqs) -> Worker:  # noqa: F811 - pytest's way
    """Return the worker, after the PDUs of earlier tests are removed."""
    for item in dynamodb.scan(parked.TABLE):
        dynamodb.execute(dynamodb.delete(parked.TABLE, {"pk": item["pk"], "sk": item["sk"]}))
    return Worker(sqs)
