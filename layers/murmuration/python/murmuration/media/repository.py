"""Uploads. https://spec.matrix.org/v1.19/client-server-api/#content-repository"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import objects, parameters
from murmuration.aws.calls import Unreachable
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.aws.reads import fetch
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.media.finding import find_own_media
from murmuration.media.headers import MAX_FILE_NAME_BYTES, content_type_of
from murmuration.media.incoming import settling
from murmuration.media.incoming.signed_ids import new_signed_id, upload_key
from murmuration.protocol.errors import (
    CannotOverwriteMedia,
    Forbidden,
    InvalidParam,
    LimitExceeded,
    NotFound,
    TooLarge,
    Unavailable,
)
from murmuration.settings import settings
from murmuration.storage import media as storage
from murmuration.storage.media import Content, Media, mxc_uri

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

PENDING_MS = 86_400_000
PENDING_LIMIT = 10
"""How many created IDs without content a user may have."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload. `content_type` is the header, None if it is missing."""

    data: bytes
    content_type: str | None
    file_name: str | None


# -- Uploading -------------------------------------------------------------------------------------------


def upload_content(requester: Requester, upload: Upload) -> str:
    """Store media and return their mxc: URI. Raises TooLarge, InvalidParam, LimitExceeded, Forbidden.

    Raises Forbidden for guests, and for users whose quota is used up.
    """
    check_upload(requester, len(upload.data), upload.file_name)
    media_id = new_media_id()
    with counted(requester, len(upload.data)):
        storage.create(media_id, requester.user_id, _store(media_id, upload))
    return mxc_uri(media_id)


def create_content(requester: Requester, token: str) -> tuple[str, int]:
    """Return a new mxc: URI to upload to later, and when it expires if nothing is uploaded.

    The time is in milliseconds since the epoch. `token` is the request's access token: CloudFront accepts a
    large upload to the URI only with the same token. Raises Forbidden for guests and users whose quota is
    used up, LimitExceeded for a user who has too many unused URIs.
    """
    _forbid_guests(requester)
    now = now_ms()
    media_id, until, device_id = new_media_id(), now + PENDING_MS, None
    if key := _upload_key():
        _require_quota(requester)
        media_id = new_signed_id(key, settings().server_name, token, until // 1000)
        device_id = requester.device_id
    try:
        first_end = storage.create_pending(
            media_id,
            requester.user_id,
            now_ms=now,
            until_ms=until,
            limit=PENDING_LIMIT,
            device_id=device_id,
        )
    except ConditionFailed as error:
        raise Unavailable("Too many uploads are created at once; try again") from error
    if first_end is not None:
        raise LimitExceeded("Upload what you created first", retry_after_ms=first_end - now)
    return mxc_uri(media_id), until


def upload_content_to_mxc(
    requester: Requester, server_name: ServerName, media_id: str, upload: Upload
) -> None:
    """Store the content of an mxc: URI that was created before.

    Raises NotFound for an unknown or expired URI, Forbidden for another user's URI or a used-up quota,
    CannotOverwriteMedia, TooLarge, InvalidParam, LimitExceeded.
    """
    media = find_pending(requester, server_name, media_id)
    check_upload(requester, len(upload.data), upload.file_name)
    refuse_overwriting(media)
    with counted(requester, len(upload.data)):
        content = _store(media_id, upload)
        try:
            storage.complete(media, content)
        except ConditionFailed as error:
            objects.delete([content.object])
            raise CannotOverwriteMedia("The media were uploaded already") from error
    settling.close(media)


def find_pending(requester: Requester, server_name: ServerName, media_id: str) -> Media:
    """Return the item of a media ID that the requester created. Raises NotFound, Forbidden."""
    if server_name != settings().server_name:
        raise NotFound("Only media of this server can be uploaded to it")
    media = find_own_media(media_id)
    if media.user_id != requester.user_id:
        raise Forbidden("This media ID was created by another user")
    return media


def refuse_overwriting(media: Media) -> None:
    """Raise CannotOverwriteMedia if an ID has content, or its upload has begun or waits to be settled."""
    if media.content is not None or media.begun is not None or settling.has_arrived(media):
        raise CannotOverwriteMedia("The media were uploaded already")


def check_upload(requester: Requester, size: int, file_name: str | None) -> None:
    """Raise an error for an upload that isn't allowed, before anything is stored.

    Raises Forbidden, TooLarge, InvalidParam, LimitExceeded.
    """
    _forbid_guests(requester)
    most = settings().media_max_bytes
    if size > most:
        raise TooLarge(f"An upload may have {most:,} bytes; this one has {size:,}.{_other_way()}")
    if file_name is not None and len(file_name.encode()) > MAX_FILE_NAME_BYTES:
        raise InvalidParam(f"filename has at most {MAX_FILE_NAME_BYTES} bytes")
    rate_limits.check("media_upload", requester.user_id)


@contextmanager
def counted(requester: Requester, size: int) -> Iterator[None]:
    """Count an upload's bytes in the user's quota while it is stored; subtract them again if that fails.

    They stay counted if the outcome is unknown: the database's answer was lost, or the function was stopped.
    Raises Forbidden if the quota is used up.
    """
    quota = settings().media_quota_bytes
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


def _other_way() -> str:
    """Return a sentence, after a space, that says how to upload larger files; empty if that isn't
    possible.
    """
    most = settings().media_put_max_bytes
    if not _takes_puts():
        return ""
    return f" Up to {most:,} bytes can be uploaded by PUT, to a media ID that POST /create gave"


def _upload_key() -> str:
    """Return the key that signs media IDs; empty if CloudFront doesn't accept uploads."""
    if not _takes_puts():
        return ""
    return upload_key(parameters.read_secret(settings().viewer_secret_parameter))


def _takes_puts() -> bool:
    """Return whether CloudFront accepts large uploads. This needs CloudFront and the secret that it
    shares.
    """
    return bool(settings().viewer_secret_parameter and settings().media_put_max_bytes)


def _require_quota(requester: Requester) -> None:
    """Raise Forbidden if the user's quota is used up. Uploads through CloudFront are counted when they are
    settled.
    """
    quota = settings().media_quota_bytes
    if quota and fetch(storage.used_bytes_read(requester.user_id)) >= quota:
        raise Forbidden(f"You may upload {quota:,} bytes in all, and nothing is left of them")


def _forbid_guests(requester: Requester) -> None:
    if requester.is_guest:
        raise Forbidden("Guests can't upload media")


def _store(media_id: str, upload: Upload) -> Content:
    """Store the content in the bucket, under a new key, because the content of an ID never changes."""
    content = Content(
        object=f"media/{media_id}/{secrets.token_urlsafe(9)}",
        content_type=content_type_of(upload.content_type),
        file_name=upload.file_name or None,
        size=len(upload.data),
        uploaded_ms=now_ms(),
    )
    objects.put(content.object, upload.data, content.content_type)
    return content


def new_media_id() -> str:
    return secrets.token_urlsafe(18)
