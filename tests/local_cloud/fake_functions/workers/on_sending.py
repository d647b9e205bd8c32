"""Queue worker: notes each message in S3."""

from __future__ import annotations

from murmuration.endpoint.workers import queue_worker
from tests.local_cloud.fake_functions.client.things import BUCKET, client


@queue_worker("sending")
def handler(message):
    client("s3").put_object(Bucket=BUCKET, Key=f"seen-queued-{message['name']}", Body=b"1")
