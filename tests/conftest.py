"""Fixtures of all tests: a DynamoDB for the run, the deployment's settings, fresh names."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from murmuration.protocol.identifiers import UserId
from tests import slow

if TYPE_CHECKING:
    from murmuration.aws.calls import Answer, Call, Proceed
    from murmuration.identity.tokens import Requester
    from tests.in_process import Client

SERVER_NAME = "example.org"
PREFIX = "murmuration-test"
KEPT = ("MURMURATION_API", "MURMURATION_PASSWORD_COST", "MURMURATION_WAITS")
"""Settings of the run that servers of tests share: without any, it runs as what is deployed by default.

`MURMURATION_API=rest MURMURATION_WAITS=rest` runs it as behind REST APIs.
"""
hypothesis.settings.register_profile(
    "exploring",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
"""Try other examples in each run: `pytest --hypothesis-profile exploring`."""
hypothesis.settings.register_profile(
    "murmuration", hypothesis.settings.get_profile("exploring"), derandomize=True
)
"""Try the same examples in every run, so that no run fails by chance."""
hypothesis.settings.load_profile("murmuration")
_numbers = itertools.count(1)
_genuine: dict[str, Callable[[], str]] = {}
"""Functions that `deployment` puts others in place of."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Don't even import the files that are listed as slow, where the long tests are left out."""
    if config.getoption("-m") == "not long" and collection_path.suffix == ".py":
        return slow.is_slow(str(collection_path.relative_to(slow.ROOT)), slow.read()) or None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that are listed as slow: `make test` leaves them out, `make coverage` doesn't."""
    listed = slow.read()
    for item in items:
        if item.get_closest_marker("long") is None and slow.is_slow(item.nodeid, listed):
            item.add_marker(pytest.mark.long)
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what was left out, if the long tests were left out."""
    if config.getoption("-m") != "not long":
        return
    folder = Path(__file__).parent
    files = sorted(path for path in folder.rglob("test_*.py") if "mark.long" in path.read_text())
    names = ", ".join(str(path.relative_to(folder)) for path in files)
    terminalreporter.write_line(
        f"Left out, as they take long: {names}, and {len(slow.read())} files and functions that "
        "tests/slow.txt lists. `make test-all` runs them too."
    )


@pytest.fixture(autouse=True)
def _read_settings_anew() -> Iterator[None]:
    """Forget the settings after a test that changed the environment.

    This fixture is set up before `monkeypatch`, so it ends after `monkeypatch` has restored the environment.
    """
    yield
    if (module := sys.modules.get("murmuration.settings")) is not None:
        module.settings.cache_clear()


@pytest.fixture(scope="session")
def dynamodb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a DynamoDB that lives as long as the test run."""
    from local_cloud.data_folder import DataFolder
    from local_cloud.database.dynoxide import Dynoxide

    folder = DataFolder(tmp_path_factory.mktemp("dynamodb"))
    folder.open()
    dynoxide = Dynoxide(folder)
    try:
        dynoxide.start()
        yield dynoxide.url
    finally:
        dynoxide.stop()
        folder.close()


def _ring_nobody(call: Call, proceed: Proceed) -> Answer:
    """Accept a request to call a queue's worker, if a test has no workers."""
    return {} if (call.service, call.operation) == ("lambda", "Invoke") else proceed(call)


@pytest.fixture(scope="session")
def deployment(dynamodb_url: str) -> Iterator[None]:
    """Yield the environment of a deployed function, and its tables."""
    from local_cloud import permissions
    from local_cloud.aws import patch as services
    from local_cloud.names import QUEUE_URLS
    from murmuration import server_keys
    from murmuration.aws import calls, dynamodb
    from murmuration.aws import clients as aws
    from murmuration.settings import settings
    from murmuration.storage.live import wake_queues
    from murmuration.storage.tables import TABLES

    permissions.install()
    services.install(none := services.Services({}))  # its interceptor is to come before the next one
    services.uninstall(none)
    calls.intercept(_ring_nobody)
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
        "MURMURATION_SERVER_NAME": SERVER_NAME,
        "MURMURATION_PREFIX": PREFIX,
        "MURMURATION_REGISTRATION": "open",
        "MURMURATION_RATE_LIMITS": "off",
        "MURMURATION_PASSWORD_COST": "4",
        "MURMURATION_QUEUE_URLS": QUEUE_URLS,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for accessor in (settings, aws.session, dynamodb.client):
            accessor.cache_clear()
        calls.forget()
        _genuine.setdefault("_read", server_keys._read)
        patch.setattr(server_keys, "_read", lambda: "ed25519 test " + "A" * 43)
        patch.setattr(wake_queues, "edge_secret", lambda: "what CloudFront proves itself with")
        for table in TABLES:
            dynamodb.client().create_table(**table.create_request(settings().table(table.name)))
        yield
    calls.release(_ring_nobody)
    for accessor in (settings, aws.session, dynamodb.client):
        accessor.cache_clear()
    calls.forget()


@pytest.fixture
def no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what `deployment` set up in this process, for a test that brings a server of its own."""
    from murmuration import server_keys

    for name in list(os.environ):
        if name.startswith(("AWS_", "MURMURATION_")) and name not in KEPT:
            monkeypatch.delenv(name)
    if "_read" in _genuine:
        monkeypatch.setattr(server_keys, "_read", _genuine["_read"])


@pytest.fixture
def fresh_user_id(deployment: None) -> Callable[..., str]:
    """Return a maker of user IDs that no other test of the run uses."""

    def make(name: str = "user") -> str:
        return f"@{name}-{os.getpid()}-{next(_numbers)}:{SERVER_NAME}"

    return make


@pytest.fixture
def make_user(deployment: None, fresh_user_id: Callable[..., str]) -> Callable[..., Requester]:
    """Return a maker of local users who are logged in on one device, without the expense of a password."""
    from murmuration.aws import dynamodb
    from murmuration.identity.tokens import Requester, hash_secret
    from murmuration.protocol.identifiers import DeviceId
    from murmuration.storage.users import profiles
    from murmuration.storage.users.accounts import device_key

    def make(name: str = "user", device_id: str = "DEVICE") -> Requester:
        user_id = UserId(fresh_user_id(name))
        dynamodb.batch_write(
            [
                dynamodb.put("users", {"user_id": user_id, "sk": "account", "created_ms": 0}),
                profiles.profile_write(user_id, {"displayname": name}),
                dynamodb.put(
                    "users",
                    {**device_key(user_id, DeviceId(device_id)), "access_hash": hash_secret("secret")},
                ),
            ]
        )
        return Requester(UserId(user_id), DeviceId(device_id))

    return make


@pytest.fixture
def make_client(make_user: Callable[..., Requester]) -> Callable[..., Client]:
    """Return a maker of clients of fresh users."""
    from murmuration.identity.tokens import ACCESS, render_token
    from tests.in_process import Client

    def make(name: str = "user") -> Client:
        user = make_user(name)
        token = render_token(ACCESS, user.user_id, user.device_id, "secret")
        return Client(token, user.user_id, user.device_id)

    return make


@pytest.fixture
def alice(make_client: Callable[..., Client]) -> Client:
    return make_client("alice")


@pytest.fixture
def bob(make_client: Callable[..., Client]) -> Client:
    return make_client("bob")
