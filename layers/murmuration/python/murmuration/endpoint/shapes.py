"""The shapes of the events that Lambda passes to functions and of their answers, for mypy only: nothing is
checked at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import DeviceId, EventId, RoomId, ServerName, UserId


class PathParams(TypedDict, total=False):
    """The parameters of a path, by the names in the route. Each route has only some of them."""

    action: str
    authType: str
    backupVersion: str
    delayId: str
    deviceId: DeviceId
    eventId: EventId
    eventType: str
    fileName: str
    filterId: str
    hash: str
    idpId: str
    keyName: str
    kind: str
    mediaId: str
    protocol: str
    receiptType: str
    relType: str
    roomAlias: str
    roomId: RoomId
    roomIdOrAlias: str
    ruleId: str
    serverName: ServerName
    sessionId: str
    stateKey: str
    tag: str
    txnId: str
    type: str
    userId: UserId
    version: str


class ProxyResponse(TypedDict):
    """A function's answer to API Gateway. A body of bytes is base64."""

    statusCode: int
    headers: NotRequired[dict[str, str]]
    body: NotRequired[str]
    isBase64Encoded: NotRequired[bool]


class PolicyStatement(TypedDict):
    """A statement that lets a request pass an authorizer, or doesn't."""

    Action: str
    Effect: Literal["Allow", "Deny"]
    Resource: str


class Policy(TypedDict):
    """The policy in an authorizer's answer."""

    Version: str
    Statement: list[PolicyStatement]


class AuthorizerAnswer(TypedDict):
    """An authorizer's answer. The gateway's mapping template reads `context`."""

    principalId: str
    policyDocument: Policy
    context: dict[str, str]


class FailedRecord(TypedDict):
    """A record that is to be delivered again: its message ID, or its sequence number in the stream."""

    itemIdentifier: str


class BatchResponse(TypedDict):
    """A worker's answer: the records that failed. All others are done."""

    batchItemFailures: list[FailedRecord]


class StreamImages(TypedDict):
    """The old and new image of a changed item, with attributes in DynamoDB's notation."""

    Keys: dict[str, Any]
    SequenceNumber: str
    NewImage: NotRequired[dict[str, dict[str, Any]] | None]
    ApproximateCreationDateTime: NotRequired[float]
    """In seconds since the epoch."""


class StreamRecord(TypedDict):
    """A record of DynamoDB Streams."""

    eventName: Literal["INSERT", "MODIFY", "REMOVE"]
    dynamodb: StreamImages
