"""Uploads and downloads. https://spec.matrix.org/v1.19/client-server-api/#content-repository"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from murmuration.aws import objects
from murmuration.aws.calls import Unreachable
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.media.headers import content_type_of
from murmuration.protocol.errors import (
    CannotOverwriteMedia,
    Forbidden,
    InvalidParam,
    LimitExceeded,
    NotFound,
    NotYetUploaded,
    TooLarge,
    Unavailable,
)
from murmuration.protocol.identifiers import is_valid_server_name
from murmuration.settings import settings
from murmuration.storage import media as storage
from murmuration.storage.media import Content, Media

PENDING_MS = 86_400_000
PENDING_LIMIT = 10
"""How many created IDs a user may have that wait for their content."""
MAX_FILE_NAME_BYTES = 1_024
DEFAULT_WAIT_MS = 20_000
MAX_WAIT_MS = 15_000
WAIT_STEP_MS = 400
_MEDIA_ID = re.compile("[A-Za-z0-9_-]{1,255}")


@dataclass(frozen=True, slots=True)
class Upload:
    """What a client sends; `content_type` is the header as it came, if it did."""

    data: bytes
    content_type: str | None
    file_name: str | None


@dataclass(frozen=True, slots=True)
class File:
    """Media as they were uploaded."""

    data: bytes
    content_type: str
    file_name: str | None


# -- Uploading -------------------------------------------------------------------------------------------


def upload_content(requester: Requester, upload: Upload) -> str:
    """Store media; their mxc: URI. Raises TooLarge, InvalidParam, LimitExceeded, Forbidden.

    Forbidden is for guests, and for a user who has uploaded as much as the deployment lets them.
    """
    _check_upload(requester, upload)
    media_id = _new_media_id()
    with _counted(requester, upload):
        storage.create(media_id, requester.user_id, _store(media_id, upload))
    return _uri(media_id)


def create_content(requester: Requester) -> tuple[str, int]:
    """An mxc: URI to upload to later, and when it ends if nobody does, in milliseconds since the epoch.

    Raises LimitExceeded for a user who has too many of them.
    """
    _forbid_guests(requester)
    now = now_ms()
    media_id, until = _new_media_id(), now + PENDING_MS
    try:
        first_end = storage.create_pending(
            media_id, requester.user_id, now_ms=now, until_ms=until, limit=PENDING_LIMIT
        )
    except ConditionFailed as error:
        raise Unavailable("Too many uploads are created at once; try again") from error
    if first_end is not None:
        raise LimitExceeded("Upload what you created first", retry_after_ms=first_end - now)
    return _uri(media_id), until


def upload_content_to_mxc(requester: Requester, server_name: str, media_id: str, upload: Upload) -> None:
    """Store the content of an mxc: URI created before.

    Raises NotFound where there's no such URI any more, Forbidden where it's another user's or the requester
    has no room for it, CannotOverwriteMedia, TooLarge, InvalidParam, LimitExceeded.
    """
    media = _read(server_name, media_id)
    if media.user_id != requester.user_id:
        raise Forbidden("This media ID was created by another user")
    _check_upload(requester, upload)
    if media.content is not None:
        raise CannotOverwriteMedia("The media were uploaded already")
    with _counted(requester, upload):
        content = _store(media_id, upload)
        try:
            storage.complete(media, content)
        except ConditionFailed as error:
            objects.delete([content.object])
            raise CannotOverwriteMedia("The media were uploaded already") from error


def upload_limit() -> int:
    """The size of the largest upload, in bytes."""
    return settings().media_max_bytes


def _check_upload(requester: Requester, upload: Upload) -> None:
    _forbid_guests(requester)
    if len(upload.data) > upload_limit():
        raise TooLarge(
            f"An upload may have {upload_limit():,} bytes; this one has {len(upload.data):,}. "
            "The server can't take larger ones"
        )
    if upload.file_name is not None and len(upload.file_name.encode()) > MAX_FILE_NAME_BYTES:
        raise InvalidParam(f"filename has at most {MAX_FILE_NAME_BYTES} bytes")
    rate_limits.check("media_upload", requester.user_id)


@contextmanager
def _counted(requester: Requester, upload: Upload) -> Iterator[None]:
    """Take an upload's bytes from the user's quota while it is stored; give them back if that fails.

    They stay counted where it's not known whether the media were stored: where the database's answer is lost
    or the function is stopped. Raises Forbidden where there's no room.
    """
    quota, size = settings().media_quota_bytes, len(upload.data)
    if not quota:
        yield
        return
    if not storage.take_bytes(requester.user_id, size, most=quota):
        raise Forbidden(f"You may upload {quota:,} bytes in all, and this is more than is left of them")
    try:
        yield
    except Unreachable:
        raise
    except Exception:
        storage.give_back_bytes(requester.user_id, size)
        raise


def _forbid_guests(requester: Requester) -> None:
    if requester.is_guest:
        raise Forbidden("Guests can't upload media")


def _store(media_id: str, upload: Upload) -> Content:
    """Put the content into the bucket, under a key of its own: what an ID names never changes."""
    content = Content(
        object=f"media/{media_id}/{secrets.token_urlsafe(9)}",
        content_type=content_type_of(upload.content_type),
        file_name=upload.file_name or None,
        size=len(upload.data),
        uploaded_ms=now_ms(),
    )
    objects.put(content.object, upload.data, content.content_type)
    return content


def _new_media_id() -> str:
    return secrets.token_urlsafe(18)


def _uri(media_id: str) -> str:
    return f"mxc://{settings().server_name}/{media_id}"


# -- Downloading -----------------------------------------------------------------------------------------


def get_content(server_name: str, media_id: str, *, reader: Requester | None, timeout_ms: int) -> File:
    """Media as they were uploaded; see `find_content`. Raises NotFound, NotYetUploaded."""
    return read_file(find_content(server_name, media_id, reader=reader, timeout_ms=timeout_ms))


def find_content(server_name: str, media_id: str, *, reader: Requester | None, timeout_ms: int) -> Content:
    """What is known about uploaded media, after waiting up to `timeout_ms` for a pending upload.

    Without a `reader` nothing is waited for, and media that were uploaded since the deployment's freeze
    aren't there. A reader who waits for many media at once is told immediately that they aren't uploaded, as
    each wait holds a function. Raises NotFound, NotYetUploaded.
    https://spec.matrix.org/v1.19/client-server-api/#content-repository
    """
    content = _read(server_name, media_id).content
    if content is None and reader is not None and timeout_ms > 0:
        content = _await_content(server_name, media_id, reader, timeout_ms)
    if content is None:
        raise NotYetUploaded("The media have not been uploaded yet")
    if reader is None and content.uploaded_ms >= settings().unauthenticated_media_before_ms:
        raise NotFound("These media are given to who has an access token, by the paths of today")
    return content


def _await_content(server_name: str, media_id: str, reader: Requester, timeout_ms: int) -> Content | None:
    """What was uploaded while this waited; None where nothing was, or the user waits too often."""
    with suppress(LimitExceeded):
        rate_limits.check("media_wait", reader.user_id)
        deadline = time.monotonic() + min(timeout_ms, MAX_WAIT_MS) / 1000
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, WAIT_STEP_MS / 1000))
            if (content := _read(server_name, media_id).content) is not None:
                return content
    return None


def read_file(content: Content) -> File:
    """The bytes of uploaded media. Raises NotFound where the bucket has lost them."""
    found = objects.get(content.object)
    if found is None:
        raise NotFound("The media are gone")
    return File(found.data, content.content_type, content.file_name)


def _read(server_name: str, media_id: str) -> Media:
    """Raises NotFound, also for an ID whose time to be uploaded is over."""
    if not is_valid_server_name(server_name) or not _MEDIA_ID.fullmatch(media_id):
        raise NotFound("This is not the name of any media")
    if server_name != settings().server_name:
        raise NotFound(f"The media are on {server_name}, and this server doesn't federate yet")
    media = storage.read(media_id)
    if media is None or (media.content is None and (media.pending_until_ms or 0) <= now_ms()):
        raise NotFound("There are no such media")
    return media
