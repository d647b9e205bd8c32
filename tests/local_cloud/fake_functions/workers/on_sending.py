"""Queue worker: notes each message in S3."""

from __future__ import annotations

from murmuration.endpoint import Queue
from tests.local_cloud.fake_functions.client.things import BUCKET, client
from tests.local_cloud.routed import routed


@routed(Queue("sending"))
def handler(event, context):
    for record in event["Records"]:
        client("s3").put_object(Bucket=BUCKET, Key=f"seen-queued-{record['body']}", Body=b"1")
