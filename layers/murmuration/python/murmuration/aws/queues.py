"""SQS: messages to queues by their logical names."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from murmuration.aws.calls import call
from murmuration.cache import LruCache
from murmuration.settings import settings

_urls: LruCache[str, str] = LruCache(64)


@functools.cache
def client() -> Any:
    """The botocore client, for what no function does: looking into queues and emptying them."""
    from murmuration.aws.clients import make_client

    return make_client("sqs")


def url_of_name(physical_name: str) -> str:
    """The URL that a queue of this name has in this account and region; empty where they aren't known."""
    base = settings().queue_urls
    return base + physical_name if base else ""


def url_of(physical_name: str) -> str:
    """The URL of a queue that exists. It is asked for only where account and region aren't known."""
    url = url_of_name(physical_name) or _urls.get(physical_name)
    if url is None:
        url = str(call("sqs", "GetQueueUrl", {"QueueName": physical_name})["QueueUrl"])
        _urls.put(physical_name, url)
    return url


def send(
    name: str,
    body: Mapping[str, Any],
    *,
    group: str | None = None,
    dedup: str | None = None,
    delay_s: int = 0,
) -> None:
    """Queue `body` as JSON; with `group` the queue is FIFO, and takes a `dedup` once in five minutes."""
    physical = settings().queue(name) + (".fifo" if group is not None else "")
    more: dict[str, Any] = {"DelaySeconds": delay_s} if delay_s else {}
    if group is not None:
        more["MessageGroupId"] = group
    if dedup is not None:
        more["MessageDeduplicationId"] = dedup
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    call("sqs", "SendMessage", {"QueueUrl": url_of(physical), "MessageBody": text, **more})
