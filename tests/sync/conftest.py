"""SQS in process for those who wait, and workers that are called by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_cloud.aws import patch
from local_cloud.aws.sqs import Sqs
from murmuration import server_keys
from murmuration.aws import queues
from murmuration.cache import LruCache
from murmuration.settings import settings
from murmuration.storage.live import sync_tokens, wake_queues


@pytest.fixture(autouse=True)
def _tokens_stay_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tokens count as new on a busy machine too, since that decides how often a request looks."""
    monkeypatch.setattr(sync_tokens, "FRESH_S", 600)


@pytest.fixture
def sqs(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sqs]:
    """Yield the queues of a test of its own."""
    service = Sqs()
    services = patch.Services({"sqs": service.operations()})
    patch.install(services)
    monkeypatch.setattr(wake_queues, "_urls", LruCache(1000))
    monkeypatch.setattr(queues, "_urls", LruCache(1000))
    server_keys.derived_key.cache_clear()
    yield service
    service.close()
    patch.uninstall(services)


@pytest.fixture
def held(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Yield a deployment whose waiting clients are held."""
    yield from _waiting("held", monkeypatch)


@pytest.fixture
def parked(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Yield a deployment whose waiting clients are parked."""
    yield from _waiting("parked", monkeypatch)


def _waiting(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MURMURATION_WAITING", kind)
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()
