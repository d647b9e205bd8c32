"""What every test may lean on: a DynamoDB of its own for the run, the deployment's settings, fresh names."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SERVER_NAME = "example.org"
PREFIX = "murmuration-test"
_numbers = itertools.count(1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def dynamodb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a DynamoDB that lives as long as the test run."""
    import platform
    import sys

    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    binary = Path("node_modules/@dynoxide") / f"{sys.platform}-{machine}" / "dynoxide"
    port = _free_port()
    database = tmp_path_factory.mktemp("dynamodb") / "test.db"
    process = subprocess.Popen(
        [binary, "--db-path", database, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def deployment(dynamodb_url: str) -> Iterator[None]:
    """The environment of a deployed function, and its tables."""
    from murmuration.settings import settings
    from murmuration.storage import aws, dynamodb
    from murmuration.storage.tables import TABLES

    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
        "MURMURATION_SERVER_NAME": SERVER_NAME,
        "MURMURATION_PREFIX": PREFIX,
        "MURMURATION_REGISTRATION": "open",
        "MURMURATION_RATE_LIMITS": "off",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for accessor in (settings, aws.session, dynamodb.client):
            accessor.cache_clear()
        for table in TABLES:
            dynamodb.client().create_table(**table.create_request(settings().table(table.name)))
        yield
    for accessor in (settings, aws.session, dynamodb.client):
        accessor.cache_clear()


@pytest.fixture
def fresh_user_id(deployment: None) -> Callable[..., str]:
    """Makes user IDs that no other test of the run uses."""

    def make(name: str = "user") -> str:
        return f"@{name}-{os.getpid()}-{next(_numbers)}:{SERVER_NAME}"

    return make
