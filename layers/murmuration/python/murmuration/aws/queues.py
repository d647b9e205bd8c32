"""SQS: sends messages to queues with logical names, and rings the workers that handle them.

Nobody polls a queue, because Lambda would poll each one all the time, used or not. The code that queues a
message also rings the queue's worker: it invokes the worker's function asynchronously, and the worker takes
messages until there are none. A ring may get lost, and comes too early for a delayed message. So a delayed
message also has a row in the table `clock`, and a schedule looks for waiting messages
(`murmuration.delivery.sweeping`).
"""

from __future__ import annotations

import functools
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from murmuration.aws.calls import ServiceError, call
from murmuration.cache import LruCache
from murmuration.clock import now_ms
from murmuration.settings import settings

BATCH_LIMIT = 10
CLOCK = "clock"
"""The table of the times at which workers are to be rung, and the key of all its items (`storage.clock`)."""
CLOCK_LIFETIME_S = 86_400
UNKNOWN = 0
"""The number of messages to ring a worker for if the number isn't known."""
FIFO: Mapping[str, bool] = {
    "delayed-events": False,
    "gateway-pushes": False,
    "incoming-uploads": False,
    "outbound": True,
    "remote-joins": False,
    "room-pdus": True,
    "socket-pushes": False,
}
"""The queues that have a worker, and whether each is FIFO."""
FEDERATION = frozenset(("outbound", "remote-joins", "room-pdus"))
"""The queues that exist only if the server federates."""
_urls: LruCache[str, str] = LruCache(64)

if TYPE_CHECKING:

    class QueueRecord(TypedDict):
        """A message that was received, in the form of an event source mapping's records."""

        messageId: str
        receiptHandle: str
        body: str
        attributes: Mapping[str, str]


MessageBody = Mapping[str, Any]
"""The body of a message, a JSON object. Each queue's worker knows its keys."""


class NotQueued(Exception):
    """SQS didn't accept some messages of a batch."""


@functools.cache
def client() -> Any:
    """Return the botocore client for inspecting and emptying queues, which no function does."""
    from murmuration.aws.clients import make_client

    return make_client("sqs")


def url_of_name(physical_name: str) -> str:
    """Return the URL of a queue by its physical name; "" if the account or region isn't known."""
    base = settings().queue_urls
    return base + physical_name if base else ""


def url_of(physical_name: str) -> str:
    """Return the URL of an existing queue. Asks SQS only if the account or region isn't known."""
    url = url_of_name(physical_name) or _urls.get(physical_name)
    if url is None:
        url = str(call("sqs", "GetQueueUrl", {"QueueName": physical_name})["QueueUrl"])
        _urls.put(physical_name, url)
    return url


def _url(name: str, *, fifo: bool) -> str:
    return url_of(settings().queue(name) + (".fifo" if fifo else ""))


def in_use() -> list[str]:
    """Return the queues of this deployment that have a worker."""
    return [name for name in FIFO if _is_there(name)]


def _is_there(name: str) -> bool:
    return name not in FEDERATION or settings().federation


def _text(body: MessageBody) -> str:
    """Return a message as text. The text is ASCII, because SQS refuses characters such as U+FFFF."""
    return json.dumps(body, separators=(",", ":"))


# -- Queueing --------------------------------------------------------------------------------------------


def put(name: str, body: MessageBody) -> None:
    """Queue `body` as JSON in a queue without a worker, such as the queue of dead letters."""
    _send(name, body, {})


def send(name: str, body: MessageBody, *, group: str | None = None, dedup: str | None = None) -> None:
    """Queue `body` as JSON and ring the queue's worker.

    With `group` the queue is FIFO, and accepts the same `dedup` once in five minutes. If the server doesn't
    federate, the queues in FEDERATION don't exist, and nothing is done.
    """
    if not _is_there(name):
        return
    more = {}
    if group is not None:
        more["MessageGroupId"] = group
    if dedup is not None:
        more["MessageDeduplicationId"] = dedup
    _send(name, body, more)
    ring(name)


def send_later(name: str, body: MessageBody, delay_s: int) -> None:
    """Queue `body` so that a worker gets it `delay_s` seconds (at most 900) later, or soon after that.

    The queue isn't FIFO. If the function stops before it has written the clock's row, a sweep finds the
    message.
    """
    if delay_s <= 0:
        send(name, body)
        return
    if not _is_there(name):
        return
    from murmuration.aws.concurrency import parallel

    parallel(
        functools.partial(_send, name, body, {"DelaySeconds": delay_s}),
        functools.partial(ring_later, name, delay_s),
    )


def _send(name: str, body: MessageBody, more: Mapping[str, str | int]) -> None:
    url = _url(name, fifo="MessageGroupId" in more)
    call("sqs", "SendMessage", {"QueueUrl": url, "MessageBody": _text(body), **more})


@dataclass(frozen=True, slots=True)
class Message:
    """A message for a FIFO queue; see `send`."""

    body: MessageBody
    group: str
    dedup: str


def send_all(name: str, messages: Sequence[Message]) -> None:
    """Queue messages in a FIFO queue, in order, ten in a request, and ring a worker for each group.

    Raises NotQueued if SQS doesn't accept one.
    """
    if not _is_there(name):
        return
    entries = [
        {
            "MessageBody": _text(message.body),
            "MessageGroupId": message.group,
            "MessageDeduplicationId": message.dedup,
        }
        for message in messages
    ]
    for start in range(0, len(entries), BATCH_LIMIT):
        _send_batch(_url(name, fifo=True), entries[start : start + BATCH_LIMIT])
    for count in Counter(message.group for message in messages).values():
        ring(name, count)


def send_each(name: str, bodies: Sequence[MessageBody]) -> None:
    """Queue messages in a queue that isn't FIFO, and ring a worker for every ten of them.

    Raises NotQueued if SQS doesn't accept one.
    """
    entries = [{"MessageBody": _text(body)} for body in bodies]
    for start in range(0, len(entries), BATCH_LIMIT):
        some = entries[start : start + BATCH_LIMIT]
        _send_batch(_url(name, fifo=False), some)
        ring(name, len(some))


def _send_batch(url: str, entries: Sequence[Mapping[str, str]]) -> None:
    numbered = [{"Id": str(number), **entry} for number, entry in enumerate(entries)]
    failed = call("sqs", "SendMessageBatch", {"QueueUrl": url, "Entries": numbered}).get("Failed")
    if failed:
        raise NotQueued(f"{len(failed)} messages weren't queued: {failed[0].get('Code')}")


# -- Ringing ---------------------------------------------------------------------------------------------


def ring(name: str, count: int = 1) -> None:
    """Invoke a queue's worker for `count` messages, without waiting for it.

    A failed ring is ignored: the messages are safe, and a sweep finds them.
    """
    if not settings().queue_urls:
        return  # outside of a deployment there is no worker
    payload = json.dumps({"waiting": count})
    asked = {"FunctionName": settings().worker(name), "InvocationType": "Event", "Payload": payload}
    try:
        call("lambda", "Invoke", asked)
    except ServiceError as error:
        logging.getLogger("murmuration.queues").warning("%s wasn't rung: %s", name, error.code)


def ring_later(name: str, delay_s: int) -> None:
    """Ring a queue's worker `delay_s` seconds later, by a row of the clock.

    One row serves everything that is due in the same second.
    """
    from murmuration.aws import dynamodb

    due_s = now_ms() // 1000 + delay_s + 1
    item = {"pk": CLOCK, "sk": f"{due_s:012d}#{name}", "expires": due_s + CLOCK_LIFETIME_S}
    dynamodb.execute(dynamodb.put(CLOCK, item))


# -- Working through a queue -----------------------------------------------------------------------------


def receive(name: str, *, fifo: bool, most: int, wait_s: int) -> list[QueueRecord]:
    """Receive up to `most` messages in the form of an event source mapping's records.

    Waits up to `wait_s` for the first. Each stays in the queue until it is deleted, and is hidden until its
    visibility timeout ends.
    """
    asked = {
        "QueueUrl": _url(name, fifo=fifo),
        "MaxNumberOfMessages": most,
        "WaitTimeSeconds": wait_s,
        "AttributeNames": ["All"],
    }
    return [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
        }
        for message in call("sqs", "ReceiveMessage", asked).get("Messages", [])
    ]


def delete(name: str, handles: Sequence[str], *, fifo: bool) -> None:
    """Delete up to ten received messages by their handles.

    If SQS doesn't delete a message, it is delivered again. So is one whose handling takes too long.
    """
    entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles)]
    if entries:
        call("sqs", "DeleteMessageBatch", {"QueueUrl": _url(name, fifo=fifo), "Entries": entries})


def waiting(name: str) -> int:
    """Return approximately how many messages can be received from a queue now."""
    wanted = "ApproximateNumberOfMessages"
    asked = {"QueueUrl": _url(name, fifo=FIFO[name]), "AttributeNames": [wanted]}
    return int(call("sqs", "GetQueueAttributes", asked)["Attributes"][wanted])
