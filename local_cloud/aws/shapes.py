"""The requests that the stand-ins for SQS, S3, SSM and SES take, by their keys, for mypy.

Nothing is checked at run time. Where botocore makes the call it has checked the request before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypeAlias, TypedDict

Parsed: TypeAlias = dict[str, Any]
"""An operation's answer, as botocore would parse it."""

# -- SQS ---------------------------------------------------------------------------------------------------


class MessageAttribute(TypedDict):
    """An attribute of a message: a string, a number as a string, or bytes."""

    DataType: str
    StringValue: NotRequired[str]
    BinaryValue: NotRequired[bytes]


class QueueName(TypedDict):
    """Of GetQueueUrl."""

    QueueName: str


class NewQueue(QueueName):
    """Of CreateQueue."""

    Attributes: NotRequired[Mapping[str, str] | None]


class QueuePrefix(TypedDict, total=False):
    """Of ListQueues."""

    QueueNamePrefix: str
    MaxResults: int


class OfQueue(TypedDict):
    """Of every operation on a queue."""

    QueueUrl: str


class QueueAttributes(OfQueue):
    """Of SetQueueAttributes."""

    Attributes: Mapping[str, str]


class WantedAttributes(OfQueue):
    """Of GetQueueAttributes."""

    AttributeNames: NotRequired[Sequence[str]]


class MessageEntry(TypedDict):
    """A message to be sent."""

    MessageBody: str
    MessageGroupId: NotRequired[str]
    MessageDeduplicationId: NotRequired[str]
    DelaySeconds: NotRequired[int]
    MessageAttributes: NotRequired[Mapping[str, MessageAttribute] | None]
    MessageSystemAttributes: NotRequired[Mapping[str, MessageAttribute] | None]


class SendMessage(OfQueue, MessageEntry):
    """Of SendMessage."""


class Receiving(OfQueue):
    """Of ReceiveMessage. Times are in seconds."""

    MaxNumberOfMessages: NotRequired[int]
    WaitTimeSeconds: NotRequired[int]
    VisibilityTimeout: NotRequired[int]
    AttributeNames: NotRequired[Sequence[str]]
    MessageSystemAttributeNames: NotRequired[Sequence[str]]
    MessageAttributeNames: NotRequired[Sequence[str]]


class OfMessage(OfQueue):
    """Of DeleteMessage."""

    ReceiptHandle: str


class Visibility(OfMessage):
    """Of ChangeMessageVisibility; in seconds from now."""

    VisibilityTimeout: int


class Batch(OfQueue):
    """Of the operations on several messages; each entry has an `Id`, and what the single operation takes."""

    Entries: list[Any]


# -- S3 ----------------------------------------------------------------------------------------------------


class OfBucket(TypedDict):
    """Of operations on a bucket."""

    Bucket: str


class OfObject(OfBucket):
    """Of operations on an object; the optional ones belong to reading."""

    Key: str
    Range: NotRequired[str]
    IfNoneMatch: NotRequired[str]
    IfMatch: NotRequired[str]


class PutObject(OfObject):
    """Of PutObject, CopyObject and CreateMultipartUpload; the headers are stored with the object."""

    Body: NotRequired[Any]
    ContentType: NotRequired[str]
    ContentDisposition: NotRequired[str]
    CacheControl: NotRequired[str]
    Metadata: NotRequired[Mapping[str, str]]


class CopyObject(PutObject):
    """Of CopyObject. `CopySource` is `bucket/key`, percent-encoded, or both as an object."""

    CopySource: str | OfObject
    MetadataDirective: NotRequired[str]


class ObjectKey(TypedDict):
    """An object of the bucket."""

    Key: str


class Deletion(TypedDict):
    """What DeleteObjects deletes."""

    Objects: Sequence[ObjectKey]
    Quiet: NotRequired[bool]


class DeleteObjects(OfBucket):
    """Of DeleteObjects."""

    Delete: Deletion


class ListObjects(OfBucket):
    """Of ListObjectsV2."""

    Prefix: NotRequired[str]
    Delimiter: NotRequired[str]
    MaxKeys: NotRequired[int]
    ContinuationToken: NotRequired[str]
    StartAfter: NotRequired[str]


class OfUpload(OfObject):
    """Of operations on an upload in parts."""

    UploadId: str


class UploadPart(OfUpload):
    """Of UploadPart."""

    PartNumber: int
    Body: NotRequired[Any]


class Part(TypedDict):
    """A part that was uploaded."""

    PartNumber: int
    ETag: str


class CompleteUpload(OfUpload):
    """Of CompleteMultipartUpload."""

    MultipartUpload: NotRequired[dict[str, Sequence[Part]]]


# -- SSM ---------------------------------------------------------------------------------------------------


class ParameterName(TypedDict):
    """Of GetParameter and DeleteParameter."""

    Name: str


class ParameterNames(TypedDict):
    """Of GetParameters."""

    Names: Sequence[str]


class PutParameter(ParameterName):
    """Of PutParameter."""

    Value: str
    Type: NotRequired[str]
    Overwrite: NotRequired[bool]


class ParametersByPath(TypedDict):
    """Of GetParametersByPath."""

    Path: str
    Recursive: NotRequired[bool]


# -- SES ---------------------------------------------------------------------------------------------------


class MailText(TypedDict):
    """A text of a mail."""

    Data: str


class MailBody(TypedDict, total=False):
    """A mail's body in one or two forms."""

    Text: MailText
    Html: MailText


class MailMessage(TypedDict):
    """A mail without its addresses."""

    Subject: MailText
    Body: MailBody


class Destination(TypedDict, total=False):
    """Who gets a mail."""

    ToAddresses: Sequence[str]
    CcAddresses: Sequence[str]


class SendEmail(TypedDict):
    """Of the first API's SendEmail."""

    Source: str
    Destination: Destination
    Message: MailMessage


class RawMail(TypedDict):
    """A mail as it goes over the wire."""

    Data: bytes


class SendRawEmail(TypedDict):
    """Of the first API's SendRawEmail."""

    RawMessage: RawMail


class MailContent(TypedDict, total=False):
    """One of the two forms of a mail."""

    Raw: RawMail
    Simple: MailMessage


class SendEmailV2(TypedDict):
    """Of the second API's SendEmail. A raw mail has its addresses itself."""

    Content: MailContent
    FromEmailAddress: NotRequired[str]
    Destination: NotRequired[Destination]


# -- API Gateway's management of WebSocket connections -----------------------------------------------------


class OfConnection(TypedDict):
    """Of GetConnection and DeleteConnection."""

    ConnectionId: str


class ConnectionPost(OfConnection):
    """Of PostToConnection."""

    Data: bytes | str
