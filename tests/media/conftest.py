"""A bucket for media."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from murmuration.aws import objects
from murmuration.settings import settings
from tests.aws import mocked_aws
from tests.logged_in import log_in

BUCKET = "murmuration-test-media"


@pytest.fixture(scope="module")
def bucket(deployment: None) -> Iterator[str]:
    """Yield the deployment's bucket."""
    with mocked_aws(MURMURATION_MEDIA_BUCKET=BUCKET):
        objects.client().create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield BUCKET


@pytest.fixture
def open_media(bucket, monkeypatch):
    """Let uploaded media be read without a token, as older media of a deployment."""
    monkeypatch.setenv("MURMURATION_UNAUTHENTICATED_MEDIA_BEFORE", "2999-01-01T00:00:00Z")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def alice(bucket, fresh_user_id):
    return log_in(fresh_user_id("alice"))


@pytest.fixture
def bob(bucket, fresh_user_id):
    return log_in(fresh_user_id("bob"))
