"""SQS's API over the queues of `sqs_queue`."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from local_cloud.aws.patch import AwsError, Operation
from local_cloud.aws.sqs_journal import Journal
from local_cloud.aws.sqs_queue import Message, Queue
from local_cloud.names import ACCOUNT, queue_arn, queue_url
from local_cloud.store import Store

if TYPE_CHECKING:
    from local_cloud.aws.shapes import (
        Batch,
        MessageEntry,
        NewQueue,
        OfMessage,
        OfQueue,
        Parsed,
        QueueAttributes,
        QueueName,
        QueuePrefix,
        Receiving,
        SendMessage,
        Visibility,
        WantedAttributes,
    )

MESSAGE_BYTES = 1_048_576
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")


class Sqs:
    """All queues, by name."""

    def __init__(self, store: Store | None = None, *, repeats: bool = False) -> None:
        """Keep the messages of FIFO queues in `store`, if given.

        With `repeats`, each message of a worker's queue is delivered twice, which SQS allows: when it is
        deleted for the first time, it becomes visible again instead.
        """
        self._store = store
        self._repeats = repeats
        self._queues: dict[str, Queue] = {}
        self._lock = threading.Lock()
        self._closed = False

    def queue(self, name: str) -> Queue:
        """Return the queue called `name`. Raises AwsError."""
        found = self._queues.get(name)
        if found is None:
            raise _error("NonExistentQueue", "The specified queue does not exist.", "QueueDoesNotExist")
        return found

    def _of(self, params: OfQueue) -> Queue:
        return self.queue(params["QueueUrl"].rsplit("/", 1)[-1])

    def close(self) -> None:
        """Make all waiting and future receivers return without messages."""
        self._closed = True
        for queue in list(self._queues.values()):
            queue.close()

    def operations(self) -> dict[str, Operation]:
        return {
            "CreateQueue": self.create_queue,
            "DeleteQueue": self.delete_queue,
            "GetQueueUrl": self.get_queue_url,
            "ListQueues": self.list_queues,
            "GetQueueAttributes": self.get_queue_attributes,
            "SetQueueAttributes": self.set_queue_attributes,
            "PurgeQueue": self.purge_queue,
            "SendMessage": self.send_message,
            "SendMessageBatch": self.send_message_batch,
            "ReceiveMessage": self.receive_message,
            "DeleteMessage": self.delete_message,
            "DeleteMessageBatch": self.delete_message_batch,
            "ChangeMessageVisibility": self.change_message_visibility,
            "ChangeMessageVisibilityBatch": self.change_message_visibility_batch,
        }

    # Queues

    def create_queue(self, params: NewQueue) -> Parsed:
        name, attributes = params["QueueName"], dict(params.get("Attributes") or {})
        if not _NAME.fullmatch(name):
            raise AwsError(
                "InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores"
            )
        if name.endswith(".fifo") != (attributes.get("FifoQueue") == "true"):
            raise AwsError(
                "InvalidParameterValue", "The name of a FIFO queue can only end with the suffix .fifo"
            )
        with self._lock:
            existing = self._queues.get(name)
            if existing is None:
                queue = Queue(name, attributes, self._journal(name))
                self._redrive(queue)
                self._queues[name] = queue
                if self._closed:
                    queue.close()
            elif any(existing.attributes.get(key) != value for key, value in attributes.items()):
                raise AwsError(
                    "QueueAlreadyExists",
                    "A queue already exists with the same name and other attributes",
                    shape="QueueNameExists",
                )
        return {"QueueUrl": queue_url(name)}

    def _journal(self, name: str) -> Journal | None:
        if self._store is None or not name.endswith(".fifo"):
            return None
        return Journal(self._store, name)

    def _redrive(self, queue: Queue) -> None:
        if policy := queue.attributes.get("RedrivePolicy"):
            values = json.loads(policy)
            queue.dead_letter = self.queue(values["deadLetterTargetArn"].rsplit(":", 1)[-1])
            queue.max_receive_count = int(values["maxReceiveCount"])

    def delete_queue(self, params: OfQueue) -> Parsed:
        queue = self._of(params)
        with self._lock:
            self._queues.pop(queue.name, None)
        queue.close()
        return {}

    def get_queue_url(self, params: QueueName) -> Parsed:
        return {"QueueUrl": queue_url(self.queue(params["QueueName"]).name)}

    def list_queues(self, params: QueuePrefix) -> Parsed:
        prefix = params.get("QueueNamePrefix", "")
        urls = [queue_url(name) for name in sorted(self._queues) if name.startswith(prefix)]
        return {"QueueUrls": urls[: params.get("MaxResults", 1000)]}

    def get_queue_attributes(self, params: WantedAttributes) -> Parsed:
        queue = self._of(params)
        visible, in_flight, delayed = queue.counts()
        every = {
            "DelaySeconds": "0",
            "MaximumMessageSize": str(MESSAGE_BYTES),
            "MessageRetentionPeriod": "345600",
            "ReceiveMessageWaitTimeSeconds": "0",
            "VisibilityTimeout": "30",
            **queue.attributes,
            "QueueArn": queue_arn(queue.name),
            "CreatedTimestamp": str(int(queue.created)),
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(in_flight),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
        }
        wanted = params.get("AttributeNames") or ()
        return {"Attributes": every if "All" in wanted else {k: every[k] for k in wanted if k in every}}

    def set_queue_attributes(self, params: QueueAttributes) -> Parsed:
        queue = self._of(params)
        queue.attributes.update(params["Attributes"])
        self._redrive(queue)
        return {}

    def purge_queue(self, params: OfQueue) -> Parsed:
        self._of(params).purge()
        return {}

    # Messages

    def send_message(self, params: SendMessage) -> Parsed:
        queue = self._of(params)
        message = self._send(queue, params)
        sent = {"MessageId": message.id, "MD5OfMessageBody": _md5(message.body)}
        return {**sent, "SequenceNumber": message.sequence_number} if queue.fifo else sent

    def _send(self, queue: Queue, entry: MessageEntry) -> Message:
        body, group = entry["MessageBody"], entry.get("MessageGroupId")
        deduplication, delay = entry.get("MessageDeduplicationId"), entry.get("DelaySeconds")
        if not body or _size(entry) > MESSAGE_BYTES:
            raise AwsError(
                "InvalidParameterValue",
                f"Message must be from 1 to {MESSAGE_BYTES} bytes, attributes included",
            )
        if queue.fifo:
            if group is None:
                raise AwsError("MissingParameter", "The request must contain the parameter MessageGroupId.")
            if delay:
                raise AwsError(
                    "InvalidParameterValue", "DelaySeconds is not valid for a message of a FIFO queue"
                )
            if deduplication is None:
                if queue.attributes.get("ContentBasedDeduplication") != "true":
                    raise AwsError(
                        "InvalidParameterValue",
                        "The queue should either have ContentBasedDeduplication enabled or "
                        "MessageDeduplicationId provided explicitly",
                    )
                deduplication = hashlib.sha256(body.encode()).hexdigest()
        return queue.send(
            body,
            attributes=entry.get("MessageAttributes"),
            system_attributes=entry.get("MessageSystemAttributes"),
            group=group,
            deduplication=deduplication,
            delay=delay,
        )

    def send_message_batch(self, params: Batch) -> Parsed:
        queue = self._of(params)
        if sum(_size(entry) for entry in params["Entries"]) > MESSAGE_BYTES:
            raise AwsError(
                "AWS.SimpleQueueService.BatchRequestTooLong", f"Batch longer than {MESSAGE_BYTES} bytes"
            )

        def send(entry: MessageEntry) -> Parsed:
            message = self._send(queue, entry)
            sent = {"MessageId": message.id, "MD5OfMessageBody": _md5(message.body)}
            return {**sent, "SequenceNumber": message.sequence_number} if queue.fifo else sent

        return _batch(params["Entries"], send)

    def receive_message(self, params: Receiving) -> Parsed:
        queue = self._of(params)
        count = params.get("MaxNumberOfMessages", 1)
        wait = params.get("WaitTimeSeconds", queue.number("ReceiveMessageWaitTimeSeconds", 0))
        if not 1 <= count <= 10 or not 0 <= wait <= 20:
            raise AwsError("InvalidParameterValue", "MaxNumberOfMessages is 1 to 10, WaitTimeSeconds 0 to 20")
        messages = queue.receive(count, wait, params.get("VisibilityTimeout"))
        if not messages:
            return {}
        system = params.get("MessageSystemAttributeNames") or params.get("AttributeNames") or ()
        return {
            "Messages": [_received(m, system, params.get("MessageAttributeNames") or ()) for m in messages]
        }

    def delete_message(self, params: OfMessage) -> Parsed:
        queue, receipt = self._of(params), params["ReceiptHandle"]
        if not (self._repeats and "-wake-" not in queue.name and queue.repeat(receipt)):
            queue.delete(receipt)
        return {}

    def delete_message_batch(self, params: Batch) -> Parsed:
        queue = self._of(params)

        def delete(entry: Any) -> Parsed:
            url = queue_url(queue.name)
            return self.delete_message({"QueueUrl": url, "ReceiptHandle": entry["ReceiptHandle"]})

        return _batch(params["Entries"], delete)

    def change_message_visibility(self, params: Visibility) -> Parsed:
        if not 0 <= params["VisibilityTimeout"] <= 43_200:
            raise AwsError("InvalidParameterValue", "VisibilityTimeout is 0 to 43200")
        if not self._of(params).change_visibility(params["ReceiptHandle"], params["VisibilityTimeout"]):
            raise _error("MessageNotInflight", "The message is not in flight.")
        return {}

    def change_message_visibility_batch(self, params: Batch) -> Parsed:
        def change(entry: Any) -> Parsed:
            asked: Visibility = {
                "QueueUrl": params["QueueUrl"],
                "ReceiptHandle": entry["ReceiptHandle"],
                "VisibilityTimeout": entry.get("VisibilityTimeout", 30),
            }
            return self.change_message_visibility(asked)

        return _batch(params["Entries"], change)


def _error(code: str, message: str, shape: str = "") -> AwsError:
    return AwsError(f"AWS.SimpleQueueService.{code}", message, shape=shape or code)


def _batch(entries: list[Any], each: Callable[[Any], Parsed]) -> Parsed:
    if not 1 <= len(entries) <= 10:
        raise _error("TooManyEntriesInBatchRequest", "A batch has 1 to 10 entries")
    if len({entry["Id"] for entry in entries}) != len(entries):
        raise _error("BatchEntryIdsNotDistinct", "The entries' ids must differ")
    answer: dict[str, list[Parsed]] = {"Successful": []}
    for entry in entries:
        try:
            answer["Successful"].append({"Id": entry["Id"], **each(entry)})
        except AwsError as error:
            failed = {"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message}
            answer.setdefault("Failed", []).append(failed)
    return answer


def system_attributes(message: Message) -> dict[str, str]:
    """Return the attributes that SQS gives a received message."""
    found = {
        "ApproximateReceiveCount": str(message.receive_count),
        "SentTimestamp": str(int(message.sent * 1000)),
        "SenderId": ACCOUNT,
        "ApproximateFirstReceiveTimestamp": str(int(message.first_received * 1000)),
    }
    if message.group is not None:
        found["MessageGroupId"] = message.group
    if message.deduplication is not None:
        found["MessageDeduplicationId"] = message.deduplication
        found["SequenceNumber"] = message.sequence_number
    if trace := message.system_attributes.get("AWSTraceHeader"):
        found["AWSTraceHeader"] = trace["StringValue"]
    return found


def _received(message: Message, system: Any, wanted: Any) -> Parsed:
    received: Parsed = {
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": _md5(message.body),
        "Body": message.body,
    }
    if system:
        every = system_attributes(message)
        received["Attributes"] = every if "All" in system else {k: every[k] for k in system if k in every}
    attributes = {
        name: value
        for name, value in message.attributes.items()
        if any(_matches(name, pattern) for pattern in wanted)
    }
    if attributes:
        received["MessageAttributes"] = attributes
    return received


def _matches(name: str, pattern: str) -> bool:
    return pattern in ("All", ".*", name) or (pattern.endswith(".*") and name.startswith(pattern[:-2]))


def _size(entry: MessageEntry) -> int:
    size = len(entry["MessageBody"].encode())
    for name, value in (entry.get("MessageAttributes") or {}).items():
        size += len(name.encode()) + len(value["DataType"].encode()) + len(value.get("BinaryValue", b""))
        size += len(value.get("StringValue", "").encode())
    return size


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
