"""Finds the permissions that a request to AWS needs, in the words of `grants`.

Plain Python, without the CDK. The deployment translates these words into IAM actions. The local cloud and the
tests' recorder derive them from requests. So the deployment grants the same permissions that tests exercise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

TABLES: Final = "tables"
QUEUES: Final = "queues"
OBJECTS: Final = "objects"
SECRETS: Final = "secrets"
MAIL: Final = "mail"
SOCKETS: Final = "sockets"

ACTIONS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    TABLES: {
        "get": ("dynamodb:GetItem",),
        "batch_get": ("dynamodb:BatchGetItem",),
        "query": ("dynamodb:Query",),
        "scan": ("dynamodb:Scan",),
        "put": ("dynamodb:PutItem",),
        "update": ("dynamodb:UpdateItem",),
        "delete": ("dynamodb:DeleteItem",),
        "check": ("dynamodb:ConditionCheckItem",),
        "batch_write": ("dynamodb:BatchWriteItem",),
    },
    QUEUES: {
        "create": ("sqs:CreateQueue",),
        "drop": ("sqs:DeleteQueue",),
        "find": ("sqs:GetQueueUrl",),
        "send": ("sqs:SendMessage",),
        "receive": ("sqs:ReceiveMessage",),
        "delete": ("sqs:DeleteMessage",),
        "delay": ("sqs:ChangeMessageVisibility",),
        "inspect": ("sqs:GetQueueAttributes",),
        "configure": ("sqs:SetQueueAttributes",),
        "purge": ("sqs:PurgeQueue",),
        "tag": ("sqs:TagQueue",),
        "ring": ("lambda:InvokeFunction",),
    },
    OBJECTS: {
        "get": ("s3:GetObject",),
        "put": ("s3:PutObject",),
        "delete": ("s3:DeleteObject",),
        "list": ("s3:ListBucket",),
        "show": ("s3:GetObject",),
    },
    SECRETS: {"get": ("ssm:GetParameter",), "get_many": ("ssm:GetParameters",)},
    MAIL: {"send": ("ses:SendEmail", "ses:SendRawEmail")},
    SOCKETS: {"manage": ("execute-api:ManageConnections",)},
}
"""The IAM actions of each word, by kind of resource."""


class Need(NamedTuple):
    """The permission to do `action`, a word of ACTIONS, to `resource`, a logical name or `table/index`."""

    kind: str
    resource: str
    action: str


_ITEM_ACTIONS: Final = {
    "GetItem": "get",
    "Query": "query",
    "Scan": "scan",
    "PutItem": "put",
    "UpdateItem": "update",
    "DeleteItem": "delete",
}
_TRANSACTION_ACTIONS: Final = {
    "Put": "put",
    "Update": "update",
    "Delete": "delete",
    "ConditionCheck": "check",
    "Get": "get",
}
_QUEUE_ACTIONS: Final = {
    "CreateQueue": "create",
    "DeleteQueue": "drop",
    "GetQueueUrl": "find",
    "SendMessage": "send",
    "SendMessageBatch": "send",
    "ReceiveMessage": "receive",
    "DeleteMessage": "delete",
    "DeleteMessageBatch": "delete",
    "ChangeMessageVisibility": "delay",
    "ChangeMessageVisibilityBatch": "delay",
    "GetQueueAttributes": "inspect",
    "SetQueueAttributes": "configure",
    "PurgeQueue": "purge",
    "TagQueue": "tag",
}
_OBJECT_ACTIONS: Final = {
    "GetObject": "get",
    "HeadObject": "get",
    "PutObject": "put",
    "CopyObject": "put",
    "CreateMultipartUpload": "put",
    "UploadPart": "put",
    "CompleteMultipartUpload": "put",
    "DeleteObject": "delete",
    "DeleteObjects": "delete",
    "ListObjectsV2": "list",
}


class UnknownRequest(Exception):
    """No word exists for the permission that a request needs: add one to `needs` and ACTIONS."""


def needs(service: str, operation: str, parameters: Mapping[str, Any], prefix: str) -> Iterator[Need]:
    """Yield the permissions that a request needs. `service` and `operation` are botocore's names.

    Raises UnknownRequest.
    """
    match service:
        case "dynamodb":
            yield from _table_needs(operation, parameters, prefix)
        case "sqs" if operation in _QUEUE_ACTIONS:
            name = str(parameters.get("QueueName") or parameters["QueueUrl"].rpartition("/")[2])
            yield Need(QUEUES, logical_queue(name, prefix), _QUEUE_ACTIONS[operation])
        case "lambda" if operation == "Invoke":
            yield Need(QUEUES, parameters["FunctionName"].removeprefix(f"{prefix}-queue-"), "ring")
        case "s3" if operation in _OBJECT_ACTIONS:
            yield from _object_needs(operation, parameters)
        case "ssm" if operation == "GetParameter":
            yield Need(SECRETS, parameters["Name"].removeprefix(f"/{prefix}/"), "get")
        case "ssm" if operation == "GetParameters":
            yield from (
                Need(SECRETS, name.removeprefix(f"/{prefix}/"), "get_many") for name in parameters["Names"]
            )
        case "ses" | "sesv2" if operation in ("SendEmail", "SendRawEmail"):
            yield Need(MAIL, "*", "send")
        case "apigatewaymanagementapi":
            yield Need(SOCKETS, "*", "manage")
        case _:
            raise UnknownRequest(f"{service} {operation}")


def queue_action(operation: str) -> str | None:
    """Return the word for an operation of SQS; None if it needs no permission."""
    return _QUEUE_ACTIONS.get(operation)


def logical_queue(physical: str, prefix: str) -> str:
    """Return a queue's logical name: its physical name without prefix and suffix."""
    return physical.removeprefix(f"{prefix}-").removesuffix(".fifo")


def _table_needs(operation: str, parameters: Mapping[str, Any], prefix: str) -> Iterator[Need]:
    def table(physical: str) -> str:
        return physical.removeprefix(f"{prefix}-")

    if action := _ITEM_ACTIONS.get(operation):
        name = table(parameters["TableName"])
        index = parameters.get("IndexName")
        yield Need(TABLES, f"{name}/{index}" if index else name, action)
    elif operation in ("BatchGetItem", "BatchWriteItem"):
        action = "batch_get" if operation == "BatchGetItem" else "batch_write"
        yield from (Need(TABLES, table(physical), action) for physical in parameters["RequestItems"])
    elif operation in ("TransactWriteItems", "TransactGetItems"):
        for item in parameters["TransactItems"]:
            ((kind, request),) = item.items()
            yield Need(TABLES, table(request["TableName"]), _TRANSACTION_ACTIONS[kind])
    else:
        raise UnknownRequest(f"dynamodb {operation}")


def _object_needs(operation: str, parameters: Mapping[str, Any]) -> Iterator[Need]:
    """Yield the permissions on objects. Only the first part of a key counts: `local/…` needs `local/*`."""
    if operation == "DeleteObjects":
        keys = [entry["Key"] for entry in parameters["Delete"]["Objects"]]
    else:
        keys = [parameters["Prefix"] if operation == "ListObjectsV2" else parameters["Key"]]
    for key in keys:
        resource = f"{key.partition('/')[0]}/*"
        if operation == "CopyObject":
            yield Need(OBJECTS, f"{_copied_key(parameters['CopySource']).partition('/')[0]}/*", "get")
        yield Need(OBJECTS, resource, _OBJECT_ACTIONS[operation])


def _copied_key(source: object) -> str:
    """Return the key in a CopySource. botocore writes bucket and key as one path."""
    return str(source["Key"]) if isinstance(source, Mapping) else str(source).lstrip("/").partition("/")[2]
