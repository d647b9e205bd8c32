"""Servers that the end-to-end tests talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_cloud.database.dynoxide import DynoxideError, find_binary
from local_cloud.testing import LocalCloud, local_cloud

ENVIRONMENT = {"MURMURATION_PASSWORD_COST": "4"}
"""Passwords are hashed as cheaply as can be: these tests are not about guessing them."""


@pytest.fixture(scope="session", autouse=True)
def _needs_dynoxide() -> None:
    try:
        find_binary()
    except DynoxideError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="package")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """One server for the tests that leave it running and choose names of their own."""
    with local_cloud(tmp_path_factory.mktemp("shared"), environment=ENVIRONMENT) as cloud:
        yield cloud
        print("".join(cloud.output))


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """Yield a server for one test, which may kill it."""
    with local_cloud(tmp_path_factory.mktemp("cloud"), environment=ENVIRONMENT) as started:
        yield started
        print("".join(started.output))  # shown if the test failed
