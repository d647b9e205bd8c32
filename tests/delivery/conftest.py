"""The WebSocket API's management and SQS, in process."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from functions.workers.queues import push_to_sockets
from local_cloud.aws import patch
from local_cloud.aws.patch import AwsError
from local_cloud.aws.sqs import Sqs
from local_cloud.permissions import acting_for, module_of
from murmuration.aws import clients as aws
from murmuration.aws import queues, sockets
from murmuration.cache import LruCache
from murmuration.delivery.wakes import PUSHES
from murmuration.settings import settings


def invoke(handler: Any, event: Any) -> Any:
    """Return a function's answer. The function is allowed only what its role allows."""
    with acting_for(module_of(handler)):
        return handler(event)


class Wire:
    """What was posted to each connection; `open` are those that are there to post to."""

    def __init__(self, sqs: Sqs) -> None:
        self.sqs = sqs
        self.open: set[str] = set()
        self.posted: dict[str, list[Any]] = defaultdict(list)

    def operations(self) -> dict[str, patch.Operation]:
        return {"PostToConnection": self._post, "DeleteConnection": self._delete}

    def _check(self, params: dict[str, Any]) -> str:
        connection_id = str(params["ConnectionId"])
        if connection_id not in self.open:
            raise AwsError("GoneException", "gone", 410)
        return connection_id

    def _post(self, params: dict[str, Any]) -> dict[str, Any]:
        assert len(params["Data"]) <= sockets.LARGEST_BYTES
        self.posted[self._check(params)].append(json.loads(params["Data"]))
        return {}

    def _delete(self, params: dict[str, Any]) -> dict[str, Any]:
        self.open.discard(self._check(params))
        return {}

    def run_pushes(self) -> int:
        """Do what the worker of the pushes' queue does, and return the number of pushes."""
        queue = self.sqs.queue(settings().queue(PUSHES))
        count = 0
        while messages := queue.receive(10, wait=0):
            for message in messages:
                with acting_for(module_of(push_to_sockets.handler)):
                    push_to_sockets.handler.function(json.loads(message.body))
                queue.delete(message.receipt)
                count += 1
        return count


@pytest.fixture
def wire(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    sqs = Sqs()
    found = Wire(sqs)
    services = patch.Services({"sqs": sqs.operations(), "apigatewaymanagementapi": found.operations()})
    patch.install(services)
    monkeypatch.setenv("MURMURATION_SOCKET_ENDPOINT", "https://sockets.example.org/ws")
    monkeypatch.setattr(queues, "_urls", LruCache(100))
    for accessor in (settings, aws.session, sockets.client):
        accessor.cache_clear()
    sqs.create_queue({"QueueName": settings().queue(PUSHES)})
    yield found
    sqs.close()
    patch.uninstall(services)
    monkeypatch.undo()
    for accessor in (settings, sockets.client):
        accessor.cache_clear()
