"""Completes or refuses uploads by PUT, which CloudFront stores in the bucket.

An upload that is too large for API Gateway goes from CloudFront into the bucket, below `incoming/`. No
function sees it on its way. The viewer function lets it through if its media ID was signed for the request's
access token (`signed_ids`). The bucket then queues a message, and a worker calls `settle` for the object.
Only `settle` makes the object the content of its ID. Every other object is deleted.

S3 may send an event twice. A worker may stop anywhere, or run concurrently with another one. So:

- The content's key is derived from its ETag. Repeating the copy writes the same bytes.
- One transaction completes the ID and counts the bytes. It is refused if either was done before.
- A refusal first notes that the ID is refused, on condition that it is pending. After that no other run can
  complete it, so its copy can be deleted. The item stays for a while: it says who pays for further uploads.
- A settled upload leaves an empty object behind, until the bucket deletes it. As long as the ID can be used,
  S3 refuses a second upload to it, because the viewer function makes S3 store only new keys.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from murmuration.aws import objects, queues
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.aws.objects import Description
from murmuration.aws.reads import Batch
from murmuration.clock import now_ms
from murmuration.identity import budgets, moderation
from murmuration.media.headers import content_type_of, file_name_of
from murmuration.settings import settings
from murmuration.storage import media as storage
from murmuration.storage.media import Content, Media
from murmuration.storage.users import accounts

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject

QUEUE = "incoming-uploads"
FOLDER = "incoming"
"""The prefix of the keys of uploads that aren't settled."""
LATE_MS = 3 * 86_400_000
"""How long after its ID has expired an upload may still be settled. The viewer function lets no upload begin
by then, but a worker may be late. The bucket deletes older objects."""
EMPTY_TYPE = "application/octet-stream"
NOT_UPLOADING = (moderation.LOCKED, moderation.SUSPENDED, "guest")
"""Flags of devices whose users may not upload."""


class Refusal(Exception):
    """An upload can't become the content of its ID. The message is for the log."""


def settle_all(message: JsonObject) -> None:
    """Settle the uploads that a message from the bucket names. Other messages, such as its test, are ignored.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    for record in message.get("Records", ()):
        key = unquote_plus(record["s3"]["object"]["key"])
        settle(key.removeprefix(object_of("")))


def settle(media_id: str) -> None:
    """Make an object that CloudFront stored the content of its media ID, or delete it.

    May be called again at any time, also concurrently. Raises ConditionFailed if something else changed the
    ID meanwhile: the next call finds out what to do.
    """
    stored = objects.describe(object_of(media_id))
    if stored is None or stored.size == 0:
        return  # it was settled before
    media = storage.read(media_id)
    try:
        if media is None:
            raise Refusal("nobody created its ID")
        if media.content is None:
            _complete(media, stored)
    except Refusal as refusal:
        logging.getLogger("murmuration.media").warning("an upload was refused: %s", refusal)
        objects.delete([object_of(media_id)])
    else:
        objects.put(object_of(media_id), b"", EMPTY_TYPE)


def object_of(media_id: str) -> str:
    """Return the key under which CloudFront stores an upload to a signed ID."""
    return f"{FOLDER}/{media_id}"


def close(media: Media) -> None:
    """Have the bucket refuse uploads by CloudFront to an ID that gets its content by another way.

    An empty object does that, as after a settled upload. Does nothing for an ID that accepts no such uploads.
    """
    if media.device_id is not None:
        objects.put(object_of(media.media_id), b"", EMPTY_TYPE)


def hurry(media: Media) -> None:
    """Invoke the worker if an upload to a pending ID has arrived. Otherwise only a sweep does."""
    if has_arrived(media):
        queues.ring(QUEUE, queues.UNKNOWN)


def has_arrived(media: Media) -> bool:
    """Return whether CloudFront has stored an upload to a pending ID that isn't settled yet.

    Takes one request to the bucket, and none for an ID that accepts no such uploads.
    """
    return media.device_id is not None and bool(objects.size_of(object_of(media.media_id)))


def _complete(media: Media, stored: Description) -> None:
    """Copy the object to the key for media, and complete the ID. Raises Refusal; then the ID is refused
    permanently.
    """
    content = _content(media, stored)
    if reason := _reason_against(media, stored):
        _refuse(media, content, reason)
    source = object_of(media.media_id)
    if not objects.copy(source, content.object, content.content_type, etag=stored.etag):
        raise ConditionFailed
    try:
        storage.settle(media, content, most=settings().media_quota_bytes)
    except ConditionFailed as error:
        if error.refused("quota"):
            _refuse(media, content, "the user's quota is used up")
        now = storage.read(media.media_id)
        if now is None or now.content is None:
            raise
        if now.content.object != content.object:
            objects.delete([content.object])
        return
    _charge(media, 3, content.size, budgets.OBJECT_KB)


def _refuse(media: Media, content: Content, reason: str) -> None:
    """Record that an ID is refused, if it is pending, then delete the copy. Raises Refusal.

    Raises ConditionFailed if the ID was completed meanwhile.
    """
    if media.begun is None and media.pending_until_ms is not None:
        storage.refuse(media, expires_ms=now_ms() + LATE_MS)
    objects.delete([content.object])
    _charge(media, 1, content.size)
    raise Refusal(reason)


def _charge(media: Media, puts: int, size: int, kilobyte: float = 0.0) -> None:
    """Charge an upload to its user: `puts` writes to the bucket and, for each KB, CloudFront's price and
    `kilobyte`.
    """
    budgets.charge(media.user_id, puts * budgets.OBJECT_PUT + size / 1024 * (budgets.TO_ORIGIN_KB + kilobyte))


def _reason_against(media: Media, stored: Description) -> str:
    """Return why an upload is refused; empty if it isn't."""
    if media.begun is not None:
        return "another upload to the ID has begun"
    if media.pending_until_ms is None:
        return "one was refused before"
    if media.device_id is None:
        return "the ID was not made for such uploads"
    if stored.size > settings().media_put_max_bytes:
        return f"it has {stored.size} bytes"
    if now_ms() > media.pending_until_ms + LATE_MS:
        return "the ID has expired"
    batch = Batch()
    device = batch.add(accounts.device_read(accounts.device_key(media.user_id, media.device_id)))
    used = batch.add(storage.used_bytes_read(media.user_id))
    batch.fetch()
    if device.value is None or any(device.value.get(flag) for flag in NOT_UPLOADING):
        return "the user was logged out, or may not upload"
    quota = settings().media_quota_bytes
    return "the user's quota is used up" if quota and used.value + stored.size > quota else ""


def _content(media: Media, stored: Description) -> Content:
    return Content(
        object=f"media/{media.media_id}/{stored.etag}",
        content_type=content_type_of(stored.content_type),
        file_name=file_name_of(stored.disposition),
        size=stored.size,
        uploaded_ms=now_ms(),
    )
