"""Keeps and shows things, by way of every service: a small function that a test can call over HTTP."""

from __future__ import annotations

import base64
import json
import os
import threading
from typing import Any

from local_cloud.names import PREFIX
from murmuration.endpoint import Http
from tests.local_cloud.routed import answer, routed

TABLE = f"{PREFIX}-room-log"
BUCKET = os.environ.get("MURMURATION_MEDIA_BUCKET", f"{PREFIX}-media")


_clients: dict[str, Any] = {}
_lock = threading.Lock()


def client(service: str) -> Any:
    """Return a client shared by all threads; twenty made at once would take seconds."""
    from botocore.config import Config
    from botocore.session import Session

    with _lock:
        if service not in _clients:
            _clients[service] = Session().create_client(service, config=Config(max_pool_connections=64))
        return _clients[service]


@routed(Http("ANY", "/things/{kind}/{name}"))
def handler(event, context):
    kind, name = event["pathParameters"]["kind"], event["pathParameters"]["name"]
    body = base64.b64decode(event["body"] or "").decode()
    if event["httpMethod"] == "PUT":
        return answer(put(kind, name, body))
    return answer(get(kind, name))


def put(kind: str, name: str, body: str) -> Any:
    match kind:
        case "item":
            item = {"room_id": {"S": name}, "ordinal": {"N": "1"}, "json": {"S": body}}
            client("dynamodb").put_item(TableName=TABLE, Item=item)
        case "object":
            client("s3").put_object(Bucket=BUCKET, Key=name, Body=body.encode())
        case "parameter":
            client("ssm").put_parameter(Name=f"/{name}", Value=body, Type="String", Overwrite=True)
        case "message":
            url = client("sqs").get_queue_url(QueueName=f"{PREFIX}-{name}")["QueueUrl"]
            client("sqs").send_message(QueueUrl=url, MessageBody=body)
    return {}


def get(kind: str, name: str) -> Any:
    match kind:
        case "item":
            key = {"room_id": {"S": name}, "ordinal": {"N": "1"}}
            found = client("dynamodb").get_item(TableName=TABLE, Key=key).get("Item")
            return found and found["json"]["S"]
        case "object":
            return client("s3").get_object(Bucket=BUCKET, Key=name)["Body"].read().decode()
        case "parameter":
            return client("ssm").get_parameter(Name=f"/{name}")["Parameter"]["Value"]
        case "signing-key":
            return client("ssm").get_parameter(Name=f"/{PREFIX}/signing-key")["Parameter"]["Value"]
        case "environment":
            return os.environ.get(name)
        case "wait":
            url = client("sqs").create_queue(QueueName=f"{PREFIX}-wake-{name}")["QueueUrl"]
            put("object", f"waiting-{name}", "")
            return client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages", [])
        case "seen":
            return json.loads(get("object", f"seen-{name}"))
    return None
