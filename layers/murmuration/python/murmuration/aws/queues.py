"""SQS: messages to queues by their logical names."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from murmuration.aws.calls import call
from murmuration.cache import LruCache
from murmuration.settings import settings

BATCH_LIMIT = 10
_urls: LruCache[str, str] = LruCache(64)


class NotQueued(Exception):
    """SQS took some messages of a batch, and others not."""


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
    """Queue `body` as JSON; with `group` the queue is FIFO, and takes a `dedup` once in five minutes.

    The JSON is ASCII: SQS refuses messages with characters such as U+FFFF.
    """
    physical = settings().queue(name) + (".fifo" if group is not None else "")
    more: dict[str, Any] = {"DelaySeconds": delay_s} if delay_s else {}
    if group is not None:
        more["MessageGroupId"] = group
    if dedup is not None:
        more["MessageDeduplicationId"] = dedup
    text = json.dumps(body, separators=(",", ":"))
    call("sqs", "SendMessage", {"QueueUrl": url_of(physical), "MessageBody": text, **more})


@dataclass(frozen=True, slots=True)
class Message:
    """A message for a FIFO queue; see `send`."""

    body: Mapping[str, Any]
    group: str
    dedup: str


def send_all(name: str, messages: Sequence[Message]) -> None:
    """Queue messages in their order, ten in a request. Raises NotQueued if SQS leaves one out."""
    url = url_of(f"{settings().queue(name)}.fifo")
    for start in range(0, len(messages), BATCH_LIMIT):
        entries = [
            {
                "Id": str(number),
                "MessageBody": json.dumps(message.body, separators=(",", ":")),
                "MessageGroupId": message.group,
                "MessageDeduplicationId": message.dedup,
            }
            for number, message in enumerate(messages[start : start + BATCH_LIMIT])
        ]
        failed = call("sqs", "SendMessageBatch", {"QueueUrl": url, "Entries": entries}).get("Failed")
        if failed:
            raise NotQueued(f"{len(failed)} messages weren't queued: {failed[0].get('Code')}")
