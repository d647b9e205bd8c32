"""Objects in the bucket: bytes with a content type, under a key."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from murmuration.settings import settings


@dataclass(frozen=True, slots=True)
class Object:
    data: bytes
    content_type: str


@functools.cache
def client() -> Any:
    from murmuration.aws.clients import make_client

    return make_client("s3")


def put(key: str, data: bytes, content_type: str) -> None:
    """Store an object, over one that has the key already."""
    client().put_object(Bucket=settings().media_bucket, Key=key, Body=data, ContentType=content_type)


def get(key: str) -> Object | None:
    """The object with `key`, or None."""
    s3 = client()
    try:
        found = s3.get_object(Bucket=settings().media_bucket, Key=key)
    except s3.exceptions.NoSuchKey:
        return None
    return Object(found["Body"].read(), found["ContentType"])


def delete(keys: Sequence[str]) -> None:
    """Delete objects, those that aren't there included; up to 1,000 in one request."""
    if keys:
        objects = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        client().delete_objects(Bucket=settings().media_bucket, Delete=objects)
