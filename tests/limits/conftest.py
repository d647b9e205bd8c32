"""A bucket for large answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from murmuration.aws import objects
from tests.aws import mocked_aws
from tests.rooms.conftest import room_id

__all__ = ["room_id"]
BUCKET = "murmuration-test-answers"


@pytest.fixture(scope="package", autouse=True)
def bucket(deployment: None) -> Iterator[str]:
    """Yield the deployment's bucket."""
    with mocked_aws(MURMURATION_MEDIA_BUCKET=BUCKET):
        objects.client().create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield BUCKET
