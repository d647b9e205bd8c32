"""S3 and SSM in this process, by moto. DynamoDB stays the test run's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto import mock_aws

from murmuration.aws import calls, dynamodb, objects, parameters
from murmuration.aws import clients as aws
from murmuration.settings import settings


@contextmanager
def mocked_aws(**environment: str) -> Iterator[None]:
    """Mock S3 and SSM, empty at the start, with further variables of the environment."""
    with (
        mock_aws(config={"core": {"passthrough": {"services": ["dynamodb"]}}}),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        for name, value in environment.items():
            patch.setenv(name, value)
        _forget()
        yield
    _forget()


def _forget() -> None:
    for accessor in (settings, aws.session, dynamodb.client, objects.client, parameters.client):
        accessor.cache_clear()
    parameters.read_secret.cache_clear()
    calls.forget()
