"""Parts of the local cloud for its tests."""

from __future__ import annotations

import functools
import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from botocore.session import Session

from local_cloud.aws import patch
from local_cloud.aws.s3 import S3
from local_cloud.aws.ses import Ses
from local_cloud.aws.sqs import Sqs
from local_cloud.aws.ssm import Ssm
from local_cloud.config import Limits
from local_cloud.gateway.http import HttpGateway
from local_cloud.gateway.routes import Routes
from local_cloud.gateway.websocket import Sockets, WebSocketGateway
from local_cloud.lambdas import Lambdas
from local_cloud.names import REGION
from local_cloud.server import Server, bind
from local_cloud.store import Store
from murmuration.endpoint import WebSocket, http_routes
from tests.local_cloud.routed import Routed
from tests.local_cloud.waiting import PATIENCE_S


@functools.cache
def session() -> Any:
    """Return a botocore session that asks the services of the test that runs."""
    return Session()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Gateway:
    """A gateway with functions behind it, and nothing else."""

    port: int
    sockets: Sockets

    def request(
        self, method: str, uri: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, uri, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Gateway]]:
    """Serve functions over HTTP and WebSocket."""
    with ExitStack() as cleanup:

        def start(*functions: Routed, api: Literal["http", "rest"] = "rest", **limits: Any) -> Gateway:
            bounds = Limits(**limits)
            lambdas = Lambdas(bounds.concurrency)
            sockets = Sockets(bounds)
            routes = Routes(http_routes(functions))
            keys = {f.route.key: f for f in functions if isinstance(f.route, WebSocket)}
            listener = bind("127.0.0.1", 0)
            server = Server(
                listener,
                HttpGateway(routes, lambdas, bounds, "viewer-secret", api=api),
                WebSocketGateway(keys, lambdas, sockets, bounds, "viewer-secret"),
                bounds,
            )
            server.start()
            cleanup.callback(lambdas.close)
            cleanup.callback(server.stop)
            return Gateway(listener.getsockname()[1], sockets)

        yield start


@pytest.fixture
def make_client(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a maker of botocore clients of the services in this process; `more` adds or replaces
    services.
    """
    installed: list[patch.Services] = []
    stores: list[Store] = []

    def make(service: str, **more: Any) -> Any:
        store = Store(tmp_path / "cloud.sqlite3")
        stores.append(store)
        ses = Ses(tmp_path / "mail")
        operations = {
            "sqs": Sqs().operations(),
            "s3": S3(store, tmp_path / "objects").operations(),
            "ssm": Ssm(store).operations(),
            "ses": ses.operations(),
            "sesv2": ses.operations_v2(),
            **more,
        }
        services = patch.Services(operations)
        patch.install(services)
        installed.append(services)
        return session().create_client(
            service, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
        )

    yield make
    for services in installed:
        patch.uninstall(services)
    for store in stores:
        store.close()
