"""Media of other servers: fetched once, kept in the bucket, deleted when they haven't been used for a while.

A claim in the table lets only one function fetch a file; others wait for it. A file is kept for
`remote_media_days` after its last use. A use is recorded at most once a day: the object is copied onto
itself, so that the bucket counts its age anew, and then the item's expiry is moved. So an object never
expires before its item, and nothing has to search for expired ones.

Fetching is limited by the size of a file, by megabytes for each server, and by the number of files for each
user, whose budget pays for the storage too. A failed fetch isn't tried again for some minutes.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import time
from contextlib import suppress
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

from murmuration.aws import objects
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import DAY_MS, now_ms
from murmuration.federation.requests.errors import Unreachable
from murmuration.identity import budgets, patience, rate_limits
from murmuration.media.asking import Asked
from murmuration.media.serving import INLINE_BYTES
from murmuration.protocol.encoding.unpadded_base64 import encode_urlsafe
from murmuration.protocol.errors import (
    LimitExceeded,
    MatrixError,
    NotFound,
    NotYetUploaded,
    Refusal,
)
from murmuration.settings import settings
from murmuration.storage import remote_media
from murmuration.storage.media import Content
from murmuration.storage.remote_media import Failure, RemoteMedia

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

FETCH_SECONDS = 24.0
"""API Gateway waits 29 s for the whole request."""
CLAIM_MS = 40_000
"""How long a claim is valid: longer than a function can run."""
FAILED_MS = 300_000
PENDING_MS = 20_000
"""How long a failure is remembered; a temporary failure is remembered for less time."""
WAIT_STEP_S = 0.4
MEGABYTE = 1_000_000


def find_content(server_name: ServerName, media_id: str, asked: Asked) -> Content:
    """Return a remote file. Fetches it if it isn't stored yet and the request allows fetching.

    Raises NotFound, NotYetUploaded, LimitExceeded, and what `remote_requests.fetch` raises.
    """
    found = remote_media.read(server_name, media_id, now_ms=now_ms())
    lost = ""
    if found.content is not None:
        if found.content.size <= INLINE_BYTES or objects.size_of(found.content.object) is not None:
            _note_use(server_name, media_id, found)
            return found.content
        lost = found.content.object
    if not asked.may_fetch:
        raise NotFound(f"The media are {server_name}'s, and not here")
    if found.failure is not None:
        raise _error(found.failure)
    return _fetch_or_wait(server_name, media_id, asked, lost)


def replace_lost(server_name: ServerName, media_id: str, asked: Asked, lost: Content) -> Content:
    """Fetch a file again, because the bucket has lost its object. Raises what `find_content` raises."""
    if not asked.may_fetch:
        raise NotFound("The media are gone")
    return _fetch_or_wait(server_name, media_id, asked, lost.object)


def folder(server_name: ServerName, media_id: str) -> str:
    """Return the folder in the bucket for a file and its thumbnails: a digest, because IDs are
    case-sensitive.
    """
    return f"remote/{encode_urlsafe(hashlib.sha256(f'{server_name}/{media_id}'.encode()).digest())}"


def _fetch_or_wait(server_name: ServerName, media_id: str, asked: Asked, lost: str) -> Content:
    rate_limits.check("media_fetch", asked.asker)
    deadline = time.monotonic() + FETCH_SECONDS
    token = secrets.token_urlsafe(9)
    while (left := deadline - time.monotonic()) > 0:
        now = now_ms()
        if remote_media.claim(server_name, media_id, token, now_ms=now, until_ms=now + CLAIM_MS, lost=lost):
            return _fetch(server_name, media_id, token, asked, left)
        patience.go_on()
        time.sleep(min(left, WAIT_STEP_S))
        found = remote_media.read(server_name, media_id, now_ms=now_ms())
        if found.content is not None and found.content.object != lost:
            return found.content
        if found.failure is not None:
            raise _error(found.failure)
    raise NotYetUploaded(f"The media are still being fetched from {server_name}; try again")


def _fetch(server_name: ServerName, media_id: str, token: str, asked: Asked, seconds: float) -> Content:
    """Fetch a claimed file, and store the outcome, even an error."""
    from murmuration.media import remote_requests

    most = settings().remote_media_max_bytes
    try:
        with tempfile.TemporaryFile() as file:
            fetched = remote_requests.fetch(
                server_name,
                media_id,
                file,
                most=most,
                seconds=seconds,
                timeout_ms=min(asked.timeout_ms, 10_000),
                take=partial(_take, server_name),
            )
            file.seek(0)
            key = f"{folder(server_name, media_id)}/{secrets.token_urlsafe(9)}"
            objects.put(key, file, fetched.content_type)
    except MatrixError as error:
        _fail(server_name, media_id, token, error)
        raise
    except BaseException:
        _fail(server_name, media_id, token, NotYetUploaded("The media couldn't be fetched; try again"))
        raise
    now = now_ms()
    content = Content(key, fetched.content_type, fetched.file_name, fetched.size, now)
    try:
        remote_media.finish(server_name, media_id, token, content, now_ms=now, expires_ms=now + _kept_ms())
    except ConditionFailed:
        # Another request took this one for stopped, or an operator quarantined the file. Their result counts.
        objects.delete([key])
        found = remote_media.read(server_name, media_id, now_ms=now)
        if found.failure is not None:
            raise _error(found.failure) from None
        if found.content is None:
            raise NotYetUploaded("The media are still being fetched; try again") from None
        return found.content
    return content


def _take(server_name: ServerName, count: int) -> None:
    """Count bytes that are about to be fetched against the limits. Raises LimitExceeded."""
    rate_limits.check("media_fetch_megabytes", server_name, ceil(count / MEGABYTE))
    budgets.expect(count / 1024 * budgets.OBJECT_KB)


def _fail(server_name: ServerName, media_id: str, token: str, error: MatrixError) -> None:
    """Store an error, so that later requests get it without a fetch, and release the claim.

    An unreachable server is stored for a short time only, since its health says when it is asked again.
    """
    unreached = isinstance(error.__cause__, Unreachable)
    passing = unreached or isinstance(error, (LimitExceeded, NotYetUploaded))
    failure = Failure(error.status, error.errcode, error.message)
    until = now_ms() + (PENDING_MS if passing else FAILED_MS)
    if isinstance(error, LimitExceeded):
        until = now_ms() + 1_000
    with suppress(ConditionFailed):
        remote_media.fail(server_name, media_id, token, failure, expires_ms=until)


def _error(failure: Failure) -> MatrixError:
    if failure.errcode == LimitExceeded.errcode:
        return LimitExceeded(failure.message, retry_after_ms=PENDING_MS)
    return Refusal(failure.status, failure.errcode, failure.message)


def _kept_ms() -> int:
    return settings().remote_media_days * DAY_MS


def _note_use(server_name: ServerName, media_id: str, found: RemoteMedia) -> None:
    """Extend a file's life, at most once a day: first the object's, so that it outlives its item."""
    content, now = found.content, now_ms()
    if content is None or now - found.used_ms < DAY_MS:
        return
    if not objects.renew(content.object, content.content_type):
        return
    remote_media.note_use(
        server_name,
        media_id,
        content,
        before_ms=found.used_ms,
        now_ms=now,
        expires_ms=now + _kept_ms(),
    )
