"""CloudFront's route to the bucket: large answers and media, at the paths that functions signed.

The bucket checks the signature and its time, as S3 does with a presigned URL.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from local_cloud.aws.patch import AwsError
from local_cloud.aws.s3 import S3
from local_cloud.gateway.events import Response
from murmuration.endpoint.http import CORS_HEADERS
from murmuration.media.headers import SANDBOX

if TYPE_CHECKING:
    from local_cloud.aws.shapes import OfObject

ANSWERS = "/answers/"
MEDIA = ("/media/", "/remote/")
PREFIXES = (ANSWERS, *MEDIA)
_ORIGIN = (b"access-control-allow-origin", b"*")
_OVERRIDES = {
    "response-content-type": b"content-type",
    "response-content-disposition": b"content-disposition",
    "response-cache-control": b"cache-control",
}
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html"""


class Answers:
    """Serves the objects of one bucket to clients with a signed path."""

    def __init__(self, s3: S3, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def serve(self, method: str, path: str, query: str, wanted_range: str = "") -> Response:
        """Return the response to a request for a path below one of PREFIXES."""
        if method == "OPTIONS":
            headers = [(name.lower().encode(), value.encode()) for name, value in CORS_HEADERS.items()]
            return 204, headers, b""
        more = _policy(path)
        pairs = dict(parse_qsl(query))
        if not is_signed(path, pairs, self._bucket, datetime.now(UTC), method):
            return 403, more, b""
        asked: OfObject = {"Bucket": self._bucket, "Key": path[1:]}
        if wanted_range.startswith("bytes=") and "," not in wanted_range:
            asked["Range"] = wanted_range
        try:
            found = self._s3.get_object(asked)
        except AwsError as error:
            return (416 if error.code == "InvalidRange" else 404), more, b""
        described = {
            b"content-type": str(found["ContentType"]).encode(),
            b"accept-ranges": b"bytes",
            b"etag": str(found["ETag"]).encode(),
        }
        if encoding := found.get("ContentEncoding"):
            described[b"content-encoding"] = str(encoding).encode()
        described |= {_OVERRIDES[name]: value.encode() for name, value in pairs.items() if name in _OVERRIDES}
        if "ContentRange" in found:
            described[b"content-range"] = str(found["ContentRange"]).encode()
        if method == "HEAD":
            described[b"content-length"] = str(found["ContentLength"]).encode()
            return 200, [*more, *described.items()], b""
        body: Any = found["Body"]
        return (206 if "ContentRange" in found else 200), [*more, *described.items()], body.read()


def _policy(path: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that CloudFront adds to everything below a path."""
    if not path.startswith(MEDIA):
        return [_ORIGIN]
    return [_ORIGIN, *((name.lower().encode(), value.encode()) for name, value in SANDBOX.items())]


def is_signed(path: str, query: Mapping[str, str], bucket: str, now: datetime, method: str = "GET") -> bool:
    """Return whether the query signs the path and the method for the bucket, and hasn't expired."""
    if method not in ("GET", "HEAD"):
        return False
    try:
        signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        ends = signed_at + timedelta(seconds=int(query["X-Amz-Expires"]))
        scope = query["X-Amz-Credential"].partition("/")[2]
        region = scope.split("/")[1]
        shown = query["X-Amz-Signature"]
    except (KeyError, ValueError, IndexError):
        return False
    host = f"{bucket}.s3.{region}.amazonaws.com"
    return now <= ends and hmac.compare_digest(_signature(method, path, query, host, scope), shown)


def _signature(method: str, path: str, query: Mapping[str, str], host: str, scope: str) -> str:
    pairs = sorted((name, value) for name, value in query.items() if name != "X-Amz-Signature")
    text = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
    request = "\n".join([method, path, text, f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"])
    digest = hashlib.sha256(request.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, digest])
    key = b"AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()
