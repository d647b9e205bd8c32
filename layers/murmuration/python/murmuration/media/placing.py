"""Uploads that API Gateway itself stores in the bucket, because they are too large for a function.

The function that returns the object's key is called before the body is stored, and makes all checks. Nothing
reports when the body has arrived. So code that needs the content of such an upload first looks into the
bucket, and then completes the ID (`finding.find_own_media`). The gateway stores an object only if there is
none, so two uploads to one ID can't both succeed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms
from murmuration.identity import budgets
from murmuration.identity.tokens import Requester
from murmuration.media.headers import content_type_of
from murmuration.media.incoming import settling
from murmuration.media.repository import (
    check_upload,
    counted,
    find_pending,
    new_media_id,
    refuse_overwriting,
)
from murmuration.protocol.errors import CannotOverwriteMedia
from murmuration.storage import media as storage
from murmuration.storage.media import Content, mxc_uri

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

COMING_MS = 900_000
"""How long an upload may take to arrive after it was begun; the gateway takes at most half a minute."""


@dataclass(frozen=True, slots=True)
class Coming:
    """What is known of an upload before its body. `content_type` is the header, None if it is missing."""

    size: int
    content_type: str | None
    file_name: str | None


def place_content(requester: Requester, coming: Coming) -> tuple[str, str]:
    """Begin an upload. Return the key under which to store its body, and its mxc: URI.

    Raises what `repository.upload_content` raises.
    """
    check_upload(requester, coming.size, coming.file_name)
    media_id = new_media_id()
    content = _content(media_id, coming)
    with counted(requester, coming.size):
        _pay(coming)
        storage.begin(media_id, requester.user_id, content, until_ms=now_ms() + COMING_MS)
    return content.object, mxc_uri(media_id)


def place_content_to_mxc(requester: Requester, server_name: ServerName, media_id: str, coming: Coming) -> str:
    """Begin the upload to an ID created before, and return the key under which to store its body.

    Repeating it before the body has arrived returns the same key. Raises what
    `repository.upload_content_to_mxc` raises.
    """
    media = find_pending(requester, server_name, media_id)
    check_upload(requester, coming.size, coming.file_name)
    if media.begun is not None and media.content is None:
        return media.begun.object
    refuse_overwriting(media)
    content = _content(media_id, coming)
    with counted(requester, coming.size):
        _pay(coming)
        try:
            storage.begin_pending(media, content)
        except ConditionFailed as error:
            raise CannotOverwriteMedia("The media are being uploaded already") from error
    settling.close(media)
    return content.object


def _content(media_id: str, coming: Coming) -> Content:
    return Content(
        object=f"media/{media_id}/{secrets.token_urlsafe(9)}",
        content_type=content_type_of(coming.content_type),
        file_name=coming.file_name or None,
        size=coming.size,
        uploaded_ms=now_ms(),
    )


def _pay(coming: Coming) -> None:
    """Take the cost of storing the body, which isn't a call of this function. Raises LimitExceeded."""
    cost = budgets.OBJECT_PUT + coming.size / 1024 * budgets.OBJECT_KB
    budgets.expect(cost)
    budgets.add(cost)
