"""Objects in the bucket: bytes with a content type, under a key."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from murmuration.aws.calls import count_object
from murmuration.settings import settings

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

RESPONSE_HEADERS = {
    "Content-Type": "response-content-type",
    "Content-Disposition": "response-content-disposition",
    "Cache-Control": "response-cache-control",
}
"""The headers that a signed path can set, with the query parameters that set them.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""


@dataclass(frozen=True, slots=True)
class Object:
    data: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Description:
    """What the bucket knows about an object besides its bytes.

    `etag` has no quotes. `disposition` is the header with which it was stored, empty if there was none.
    """

    size: int
    content_type: str
    disposition: str
    etag: str


@functools.cache
def client() -> Any:
    from murmuration.aws.clients import make_client

    return make_client("s3")


def put(key: str, data: bytes | IO[bytes], content_type: str, *, encoding: str = "") -> None:
    """Store an object, and replace any with the same key. `encoding` is its Content-Encoding."""
    count_object(len(data) if isinstance(data, bytes) else _size(data))
    more = {"ContentEncoding": encoding} if encoding else {}
    client().put_object(Bucket=settings().media_bucket, Key=key, Body=data, ContentType=content_type, **more)


def signed_path(
    key: str, seconds: int, *, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> str:
    """Return a path and query with which anybody may read an object for `seconds`, or only its headers
    (HEAD).

    CloudFront passes such a request to the bucket, so clients use the path at the server's own address.
    `headers` may name headers of RESPONSE_HEADERS; the bucket then sends these instead of the object's own.
    """
    from urllib.parse import quote, urlencode, urlsplit

    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    from murmuration.aws.clients import session

    region = client().meta.region_name
    wanted = headers or {}
    more = {said: wanted[name] for name, said in RESPONSE_HEADERS.items() if wanted.get(name)}
    query = f"?{urlencode(more, quote_via=quote, safe='')}" if more else ""
    url = f"https://{settings().media_bucket}.s3.{region}.amazonaws.com/{key}{query}"
    request = AWSRequest(method, url)
    S3SigV4QueryAuth(session().get_credentials(), "s3", region, expires=seconds).add_auth(request)
    parts = urlsplit(request.url)
    return f"{parts.path}?{parts.query}"


def renew(key: str, content_type: str) -> bool:
    """Copy an object onto itself, so that the bucket counts its age from now. Returns False if it is gone."""
    return _copy(client(), key, key, content_type)


def size_of(key: str) -> int | None:
    """Return the size of the object with `key` in bytes; None if there is none."""
    found = describe(key)
    return found.size if found is not None else None


def describe(key: str) -> Description | None:
    """Return the description of the object with `key`; None if there is none."""
    count_object()
    s3 = client()
    try:
        found = s3.head_object(Bucket=settings().media_bucket, Key=key)
    except s3.exceptions.ClientError as error:
        if _is_missing(error):
            return None
        raise
    return Description(
        int(found["ContentLength"]),
        str(found.get("ContentType", "")),
        str(found.get("ContentDisposition", "")),
        str(found["ETag"]).strip('"'),
    )


def copy(key: str, target: str, content_type: str, *, etag: str) -> bool:
    """Copy the object with `key` and this ETag within the bucket. Its other metadata isn't copied.

    Returns False if there is no such object any more, or it has another ETag.
    """
    return _copy(client(), key, target, content_type, CopySourceIfMatch=f'"{etag}"')


def _copy(s3: Any, key: str, target: str, content_type: str, **condition: str) -> bool:
    """Copy an object within the bucket. Returns False if no object meets the condition."""
    count_object(0)
    bucket = settings().media_bucket
    try:
        s3.copy_object(
            Bucket=bucket,
            Key=target,
            CopySource={"Bucket": bucket, "Key": key},
            ContentType=content_type,
            MetadataDirective="REPLACE",
            **condition,
        )
    except s3.exceptions.ClientError as error:
        if _is_missing(error) or error.response["Error"]["Code"] == "PreconditionFailed":
            return False
        raise
    return True


def _is_missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in ("404", "NoSuchKey")


def _size(file: IO[bytes]) -> int:
    """Return the number of bytes from a file's position to its end."""
    position = file.tell()
    size = file.seek(0, 2) - position
    file.seek(position)
    return size


def get(key: str) -> Object | None:
    """Return the object with `key`; None if there is none."""
    count_object()
    s3 = client()
    try:
        found = s3.get_object(Bucket=settings().media_bucket, Key=key)
    except s3.exceptions.NoSuchKey:
        return None
    return Object(found["Body"].read(), found["ContentType"])


def delete(keys: Sequence[str]) -> None:
    """Delete objects, up to 1,000 in one request. Missing objects are not an error."""
    if keys:
        objects = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        client().delete_objects(Bucket=settings().media_bucket, Delete=objects)
