"""The shapes of requests to the simulated SQS, S3, SSM and SES, for mypy only.

Nothing is checked at run time. If botocore makes the call, it has checked the request before.
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
    """The request of GetQueueUrl."""

    QueueName: str


class NewQueue(QueueName):
    """The request of CreateQueue."""

    Attributes: NotRequired[Mapping[str, str] | None]


class QueuePrefix(TypedDict, total=False):
    """The request of ListQueues."""

    QueueNamePrefix: str
    MaxResults: int


class OfQueue(TypedDict):
    """The request of an operation on a queue."""

    QueueUrl: str


class QueueAttributes(OfQueue):
    """The request of SetQueueAttributes."""

    Attributes: Mapping[str, str]


class WantedAttributes(OfQueue):
    """The request of GetQueueAttributes."""

    AttributeNames: NotRequired[Sequence[str]]


class MessageEntry(TypedDict):
    """A message in a request that sends several."""

    MessageBody: str
    MessageGroupId: NotRequired[str]
    MessageDeduplicationId: NotRequired[str]
    DelaySeconds: NotRequired[int]
    MessageAttributes: NotRequired[Mapping[str, MessageAttribute] | None]
    MessageSystemAttributes: NotRequired[Mapping[str, MessageAttribute] | None]


class SendMessage(OfQueue, MessageEntry):
    """The request of SendMessage."""


class Receiving(OfQueue):
    """The request of ReceiveMessage. Times are in seconds."""

    MaxNumberOfMessages: NotRequired[int]
    WaitTimeSeconds: NotRequired[int]
    VisibilityTimeout: NotRequired[int]
    AttributeNames: NotRequired[Sequence[str]]
    MessageSystemAttributeNames: NotRequired[Sequence[str]]
    MessageAttributeNames: NotRequired[Sequence[str]]


class OfMessage(OfQueue):
    """The request of DeleteMessage."""

    ReceiptHandle: str


class Visibility(OfMessage):
    """The request of ChangeMessageVisibility; in seconds from now."""

    VisibilityTimeout: int


class Batch(OfQueue):
    """The request of an operation on several messages. An entry has an `Id` and the keys of a single
    operation.
    """

    Entries: list[Any]


# -- S3 ----------------------------------------------------------------------------------------------------


class OfBucket(TypedDict):
    """The request of an operation on a bucket."""

    Bucket: str


class OfObject(OfBucket):
    """The request of an operation on an object; the optional ones belong to reading."""

    Key: str
    Range: NotRequired[str]
    IfNoneMatch: NotRequired[str]
    IfMatch: NotRequired[str]


class PutObject(OfObject):
    """The request of PutObject and CreateMultipartUpload; the headers are stored with the object."""

    Body: NotRequired[Any]
    ContentType: NotRequired[str]
    ContentDisposition: NotRequired[str]
    CacheControl: NotRequired[str]
    Metadata: NotRequired[Mapping[str, str]]


class CopyObject(PutObject):
    """The request of CopyObject. `CopySource` is `bucket/key`, percent-encoded, or both as an object."""

    CopySource: str | OfObject
    CopySourceIfMatch: NotRequired[str]
    MetadataDirective: NotRequired[str]


class ObjectKey(TypedDict):
    """An object of the bucket."""

    Key: str


class Deletion(TypedDict):
    """The objects that a DeleteObjects request deletes."""

    Objects: Sequence[ObjectKey]
    Quiet: NotRequired[bool]


class DeleteObjects(OfBucket):
    """The request of DeleteObjects."""

    Delete: Deletion


class ListObjects(OfBucket):
    """The request of ListObjectsV2."""

    Prefix: NotRequired[str]
    Delimiter: NotRequired[str]
    MaxKeys: NotRequired[int]
    ContinuationToken: NotRequired[str]
    StartAfter: NotRequired[str]


class OfUpload(OfObject):
    """The request of an operation on an upload in parts."""

    UploadId: str


class UploadPart(OfUpload):
    """The request of UploadPart."""

    PartNumber: int
    Body: NotRequired[Any]


class Part(TypedDict):
    """A part that was uploaded."""

    PartNumber: int
    ETag: str


class CompleteUpload(OfUpload):
    """The request of CompleteMultipartUpload."""

    MultipartUpload: NotRequired[dict[str, Sequence[Part]]]


# -- SSM ---------------------------------------------------------------------------------------------------


class ParameterName(TypedDict):
    """The request of GetParameter and DeleteParameter."""

    Name: str


class ParameterNames(TypedDict):
    """The request of GetParameters."""

    Names: Sequence[str]


class PutParameter(ParameterName):
    """The request of PutParameter."""

    Value: str
    Type: NotRequired[str]
    Overwrite: NotRequired[bool]


class ParametersByPath(TypedDict):
    """The request of GetParametersByPath."""

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
    """A mail's subject and body; its addresses are in the request."""

    Subject: MailText
    Body: MailBody


class Destination(TypedDict, total=False):
    """The addresses that get a mail."""

    ToAddresses: Sequence[str]
    CcAddresses: Sequence[str]


class SendEmail(TypedDict):
    """The request of the first API's SendEmail."""

    Source: str
    Destination: Destination
    Message: MailMessage


class RawMail(TypedDict):
    """A mail in the form in which it is transmitted."""

    Data: bytes


class SendRawEmail(TypedDict):
    """The request of the first API's SendRawEmail."""

    RawMessage: RawMail


class MailContent(TypedDict, total=False):
    """One of the two forms of a mail."""

    Raw: RawMail
    Simple: MailMessage


class SendEmailV2(TypedDict):
    """The request of the second API's SendEmail. A raw mail has its addresses itself."""

    Content: MailContent
    FromEmailAddress: NotRequired[str]
    Destination: NotRequired[Destination]


# -- API Gateway's management of WebSocket connections -----------------------------------------------------


class OfConnection(TypedDict):
    """The request of GetConnection and DeleteConnection."""

    ConnectionId: str


class ConnectionPost(OfConnection):
    """The request of PostToConnection."""

    Data: bytes | str
