"""Wake queues: one SQS queue a device, on which it waits for a ring. An idle queue costs nothing."""

from __future__ import annotations

import functools
import math
from hashlib import blake2b
from typing import Any

from murmuration.settings import settings
from murmuration.storage.cache import LruCache

LONGEST_WAIT_S = 20
RETENTION_S = 60
_urls: LruCache[str, str] = LruCache(10_000)


@functools.cache
def client() -> Any:
    from murmuration.storage.aws import make_client

    return make_client("sqs", max_pool_connections=64)


def queue_name(user_id: str, device_id: str) -> str:
    digest = blake2b(f"{user_id}\n{device_id}".encode(), digest_size=16).hexdigest()
    return settings().queue(f"wake-{digest}")


def ensure(user_id: str, device_id: str) -> str:
    """The URL of the device's queue, which is made where it isn't there."""
    name = queue_name(user_id, device_id)
    url = _urls.get(name)
    if url is None:
        attributes = {"MessageRetentionPeriod": str(RETENTION_S)}
        url = str(client().create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
        _urls.put(name, url)
    return url


def wait(user_id: str, device_id: str, seconds: float) -> bool:
    """Wait for a ring, at most `seconds` (and 20); whether one came."""
    url = ensure(user_id, device_id)
    response = client().receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        WaitTimeSeconds=max(1, min(LONGEST_WAIT_S, math.ceil(seconds))),
    )
    rings = response.get("Messages", [])
    if rings:
        entries = [
            {"Id": str(number), "ReceiptHandle": ring["ReceiptHandle"]} for number, ring in enumerate(rings)
        ]
        client().delete_message_batch(QueueUrl=url, Entries=entries)
    return bool(rings)


def ring(user_id: str, device_id: str) -> None:
    """Ring the device; nothing happens where it never waited."""
    sqs = client()
    name = queue_name(user_id, device_id)
    try:
        url = _urls.get(name) or sqs.get_queue_url(QueueName=name)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="ring")
        _urls.put(name, url)
    except sqs.exceptions.QueueDoesNotExist:
        return
