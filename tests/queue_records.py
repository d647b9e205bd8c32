"""Messages of SQS as Lambda hands them to functions, where an event source mapping has received them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from local_cloud.aws.sqs import system_attributes
from local_cloud.aws.sqs_queue import Message
from local_cloud.names import REGION, queue_arn


def queue_record(message: Message, queue: str) -> dict[str, Any]:
    """Return a message in the form in which Lambda passes it to a function."""
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": system_attributes(message),
        "messageAttributes": {name: _attribute(value) for name, value in message.attributes.items()},
        "md5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn(queue),
        "awsRegion": REGION,
    }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    import base64

    found: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        found["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        found["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return found
