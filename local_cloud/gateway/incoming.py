"""CloudFront's route into the bucket: large uploads by PUT to media IDs that were created before.

`decide` decides as the deployment's viewer function does (`infra_shared/viewer.js`; a test runs both).
`Incoming` is the origin: the bucket, which stores only new keys. Its answer becomes the client's as in
`infra_shared/upload_response.js`. A body is written to a file, so that the process holds only a piece of it
at a time.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote

from infra_shared import uploads
from local_cloud.aws.patch import AwsError
from local_cloud.aws.s3 import S3
from local_cloud.gateway.events import HttpRequest, Response
from murmuration.endpoint.http import CORS_HEADERS
from murmuration.media.headers import MAX_FILE_NAME_BYTES, OCTET_STREAM
from murmuration.media.incoming import settling, signed_ids

if TYPE_CHECKING:
    from local_cloud.aws.shapes import PutObject

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_UPLOAD_PATH = re.compile(r"/_matrix/media/(?:r0|v3|v1)/upload(?:/([^/]+)/([^/]+))?", re.ASCII)
UNENCODED = "-_.!~*'()"
"""The characters that JavaScript's encodeURIComponent doesn't change, besides letters and digits."""
_BEARER = re.compile(r"bearer +(\S.*)", re.IGNORECASE)
_CORS = [(name.lower().encode(), value.encode()) for name, value in CORS_HEADERS.items()]


@dataclass(frozen=True, slots=True)
class Refused:
    """The viewer function answers by itself."""

    status: int
    errcode: str
    error: str

    def response(self) -> Response:
        body = json.dumps({"errcode": self.errcode, "error": self.error}).encode()
        return self.status, [*_CORS, (b"content-type", b"application/json")], body


@dataclass(frozen=True, slots=True)
class Accepted:
    """The viewer function sends the request to the bucket, to be stored under a key."""

    key: str
    content_type: str
    disposition: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The values with which the viewer function is deployed. `most_put_bytes` is 0 if the bucket accepts no
    uploads.
    """

    server_name: str
    key: str
    most_put_bytes: int


def decide(request: HttpRequest, rules: Rules, now_ms: int) -> Refused | Accepted | None:
    """Return what happens to a request that is too large for API Gateway; None for any other request."""
    found = _UPLOAD_PATH.fullmatch(request.path)
    if not found or request.method != ("PUT" if found[2] else "POST"):
        return None
    headers = dict(request.headers)
    length = headers.get(b"content-length", b"").decode("latin-1")
    size = int(length[:18]) if length.isdecimal() else 0
    if not rules.most_put_bytes or size <= uploads.MOST_POST_BYTES:
        return None
    expires_s = signed_ids.expiry_of(found[2] or "")
    if expires_s is None or size > rules.most_put_bytes:
        return Refused(413, "M_TOO_LARGE", too_large(rules.most_put_bytes))
    try:
        query = dict(parse_qsl(request.query, keep_blank_values=True, errors="strict"))
        server = unquote(found[1], errors="strict")
    except UnicodeDecodeError:
        return Refused(400, "M_INVALID_PARAM", "The path or the query is not UTF-8")
    bearer = _BEARER.fullmatch(headers.get(b"authorization", b"").decode("latin-1"))
    token = bearer[1].strip() if bearer else query.get("access_token", "")
    name = query.get("filename", "")
    if not token:
        return Refused(401, "M_MISSING_TOKEN", "The access token is missing")
    if server != rules.server_name or expires_s * 1000 <= now_ms:
        return Refused(404, "M_NOT_FOUND", "There are no such media")
    if not signed_ids.is_signed_for(rules.key, rules.server_name, found[2], token):
        return Refused(403, "M_FORBIDDEN", "This media ID was created with another access token")
    if len(name.encode()) > MAX_FILE_NAME_BYTES:
        return Refused(400, "M_INVALID_PARAM", f"filename has at most {MAX_FILE_NAME_BYTES} bytes")
    return Accepted(
        settling.object_of(found[2]),
        headers.get(b"content-type", OCTET_STREAM.encode()).decode("latin-1"),
        f"attachment; filename*=utf-8''{quote(name, safe=UNENCODED)}" if name else "",
    )


def too_large(most_put_bytes: int) -> str:
    """Return the message with which the viewer function refuses an upload that is too large."""
    return (
        f"An upload may have {uploads.MOST_POST_BYTES} bytes, and {most_put_bytes}"
        " by PUT to a media ID from POST /_matrix/media/v1/create"
    )


class Incoming:
    """The bucket as an origin of CloudFront, with the viewer function in front of it."""

    def __init__(self, s3: S3, bucket: str, folder: Path, rules: Rules) -> None:
        """Make the origin. `folder` is for bodies that are being received."""
        self._s3 = s3
        self._bucket = bucket
        self._folder = folder
        self._rules = rules

    def decide(self, request: HttpRequest) -> Refused | Accepted | None:
        return decide(request, self._rules, time.time_ns() // 1_000_000)

    async def answer(self, decided: Refused | Accepted, receive: Receive) -> Response | None:
        """Receive the body, and return the response; None if the client is gone before it has sent
        everything.

        A refused body is read as well, because most clients don't look at an answer while they send.
        """
        with tempfile.TemporaryFile(dir=self._folder) as file:
            if not await _receive_into(file if isinstance(decided, Accepted) else None, receive):
                return None
            if isinstance(decided, Refused):
                return decided.response()
            file.seek(0)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, self._store, decided, file)

    def _store(self, accepted: Accepted, body: IO[bytes]) -> Response:
        asked: PutObject = {
            "Bucket": self._bucket,
            "Key": accepted.key,
            "Body": body,
            "ContentType": accepted.content_type,
            "IfNoneMatch": "*",
        }
        if accepted.disposition:
            asked["ContentDisposition"] = accepted.disposition
        try:
            self._s3.put_object(asked)
        except AwsError as error:
            text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{error.code}</Code></Error>'
            return error.status, [*_CORS, (b"content-type", b"application/xml")], text.encode()
        return 200, [*_CORS, (b"content-type", b"application/json")], b"{}"


async def _receive_into(file: IO[bytes] | None, receive: Receive) -> bool:
    """Write a request's body into a file, or nowhere. Returns False if the client is gone before its end."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        if file is not None and (chunk := message.get("body")):
            file.write(chunk)
        if not message.get("more_body"):
            return True
