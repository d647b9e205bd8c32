"""The message that a bucket queues for a stored object."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from urllib.parse import quote_plus

from local_cloud.names import REGION


def stored_message(bucket: str, key: str, size: int, etag: str) -> str:
    """Return the body of the message.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    described = {
        "key": quote_plus(key, safe="/"),
        "size": size,
        "eTag": etag,
        "sequencer": uuid.uuid4().hex[:16],
    }
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "incoming-uploads",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": described,
        },
    }
    return json.dumps({"Records": [record]})
