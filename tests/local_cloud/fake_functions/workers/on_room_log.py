"""Stream worker: notes each record in S3, unless told to fail; queues what the item says."""

from __future__ import annotations

import json
import os
from pathlib import Path

from murmuration.aws import queues
from murmuration.endpoint import Stream
from tests.local_cloud.fake_functions.client.things import BUCKET, client
from tests.local_cloud.routed import routed


@routed(Stream("room-log"))
def handler(event, context):
    obstacle = os.environ.get("TEST_OBSTACLE")
    if obstacle and Path(obstacle).exists():
        raise RuntimeError("told to fail")
    for record in event["Records"]:
        image = record["dynamodb"].get("NewImage")
        if image is None:
            continue
        name = image["room_id"]["S"]
        note = json.dumps({"json": image["json"]["S"], "event": record["eventName"]})
        client("s3").put_object(Bucket=BUCKET, Key=f"seen-{name}", Body=note.encode())
        queues.send("sending", {"name": name}, group="g", dedup=record["eventID"])
