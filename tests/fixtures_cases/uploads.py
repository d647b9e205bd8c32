"""The worker that settles large uploads.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from __future__ import annotations

from typing import Any

from tests.fixtures_cases import Cases

CASES = Cases("workers/uploads", "a_large_upload")


def stored(key: str) -> list[dict[str, Any]]:
    """Return the message that the bucket queues for an object."""
    described = {"key": key, "size": 139, "eTag": "0" * 32, "sequencer": "0055AED6DCD90281E5"}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "media"}, "object": described},
    }
    return [{"Records": [record]}]


CASES.add(
    "settle_uploads/good",
    "It becomes the content of its ID, and leaves an empty object that keeps other uploads away.",
    "QUEUE incoming-uploads",
    stored("{{incoming}}"),
)
CASES.add(
    "settle_uploads/over_quota",
    "Alice has no room for it: the object is deleted, and the ID takes no other.",
    "QUEUE incoming-uploads",
    stored("{{incoming}}"),
    settings={"media_quota_bytes": "1000"},
)
CASES.add(
    "settle_uploads/not_there",
    "It was settled before, or deleted.",
    "QUEUE incoming-uploads",
    stored("incoming/nothing"),
)
CASES.add(
    "settle_uploads/test_event",
    "The bucket tries whether it may queue messages.",
    "QUEUE incoming-uploads",
    [{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "media"}],
)
