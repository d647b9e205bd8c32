"""Metadata of media: the table `media`.

There is one item for each media ID. An item without uploaded content has `pending_until_ms` instead of
`object`, the key of its object in the bucket. `pending#<user>` lists a user's pending uploads, `bytes#<user>`
counts the bytes that they uploaded, and `thumbnail#<media ID>#<size>` has the state of a thumbnail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Attributes, ConditionFailed, Item, StoredItem, Write
from murmuration.aws.reads import Read
from murmuration.settings import settings
from murmuration.storage.live.streams import ATTEMPTS, pause

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import DeviceId, UserId

TABLE = "media"
_PENDING = "attribute_exists(pending_until_ms) AND attribute_not_exists(begun)"
"""The condition that an ID waits for its content and no upload has begun."""


@dataclass(frozen=True, slots=True)
class Content:
    """Uploaded content. `object` is the key in the bucket; `file_name` is None if none was given."""

    object: str
    content_type: str
    file_name: str | None
    size: int
    uploaded_ms: int


@dataclass(frozen=True, slots=True)
class Media:
    """A media ID: its owner, and its content, or until when the content may be uploaded.

    `begun` is content whose upload has begun: it may be in the bucket by now. A pending ID to which an upload
    through CloudFront is allowed has `device_id`, the device that created it. `used_ms` is when a use was
    last recorded (`storage.unused_media`), 0 for never.
    """

    media_id: str
    user_id: UserId
    content: Content | None
    pending_until_ms: int | None
    begun: Content | None = None
    device_id: DeviceId | None = None
    used_ms: int = 0


def mxc_uri(media_id: str) -> str:
    """Return the URI of media of this server."""
    return f"mxc://{settings().server_name}/{media_id}"


def read(media_id: str) -> Media | None:
    """Return a media ID; None for an unknown one, and for one whose file is quarantined or being deleted."""
    item = dynamodb.get(TABLE, {"media_id": media_id})
    if item is None or "deleting" in item or "quarantined_ms" in item:
        return None
    return Media(
        media_id,
        item["user_id"],
        content_of(item),
        item.get("pending_until_ms"),
        content_of(item.get("begun", {})),
        item.get("device_id"),
        item.get("used_ms", 0),
    )


def scan_media() -> Iterator[Media]:
    """Yield all media of this server that have content and aren't quarantined, in no order.

    Reads the whole table.
    """
    owned = "attribute_exists(uploaded_ms) AND attribute_exists(user_id)"
    shown = "attribute_not_exists(quarantined_ms)"
    for item in dynamodb.scan(TABLE, FilterExpression=f"{owned} AND {shown}"):
        if (content := content_of(item)) is not None:
            yield Media(item["media_id"], item["user_id"], content, None)


def content_of(item: StoredItem) -> Content | None:
    """Return the content in an item; None if it has none."""
    if "object" not in item:
        return None
    return Content(
        item["object"],
        item["content_type"],
        item.get("file_name"),
        int(item["size"]),
        int(item["uploaded_ms"]),
    )


def content_attributes(content: Content) -> Attributes:
    """Return the attributes with which an item stores content."""
    return {
        "object": content.object,
        "content_type": content.content_type,
        "file_name": content.file_name,
        "size": content.size,
        "uploaded_ms": content.uploaded_ms,
    }


def create(media_id: str, user_id: UserId, content: Content) -> None:
    """Add an ID with its content. Repeating it is harmless. Raises ConditionFailed if the ID is taken."""
    item = {"media_id": media_id, "user_id": user_id, **content_attributes(content)}
    dynamodb.execute(
        dynamodb.put(
            TABLE,
            item,
            condition="attribute_not_exists(media_id) OR #object = :object",
            names={"#object": "object"},
            values={":object": content.object},
        )
    )


def begin(media_id: str, user_id: UserId, content: Content, *, until_ms: int) -> None:
    """Add an ID whose content must be in the bucket by `until_ms`.

    Raises ConditionFailed if the ID is taken.
    """
    begun = content_attributes(content)
    item = {"media_id": media_id, "user_id": user_id, "pending_until_ms": until_ms, "begun": begun}
    dynamodb.transact([dynamodb.put(TABLE, item, condition="attribute_not_exists(media_id)")])


def begin_pending(media: Media, content: Content) -> None:
    """Record that the upload to a pending ID begins.

    Raises ConditionFailed if it has begun or the time is over.
    """
    dynamodb.transact(
        [
            dynamodb.update(
                TABLE,
                {"media_id": media.media_id},
                "SET begun = :begun",
                values={":begun": content_attributes(content)},
                condition=_PENDING,
            ),
            _unlist(media),
        ]
    )


def complete_begun(media: Media, content: Content) -> None:
    """Record that an upload has arrived. Raises ConditionFailed if that was recorded before."""
    dynamodb.execute(_give(media, content, condition="attribute_exists(begun)"))


def _give(media: Media, content: Content, *, condition: str) -> Write:
    """Return the write that gives a pending ID its content, under a condition."""
    attributes = content_attributes(content)
    return dynamodb.update(
        TABLE,
        {"media_id": media.media_id},
        f"{_setting(attributes)} REMOVE pending_until_ms, begun, device_id",
        names={f"#{name}": name for name in attributes},
        values={f":{name}": value for name, value in attributes.items()},
        condition=condition,
    )


def _setting(attributes: Attributes) -> str:
    """Return the update expression that sets attributes, with placeholders for names and values."""
    return f"SET {', '.join(f'#{name} = :{name}' for name in attributes)}"


# -- A user's bytes --------------------------------------------------------------------------------------


def take_bytes(user_id: UserId, count: int, *, most: int) -> bool:
    """Count bytes that a user is about to upload. Returns False and counts nothing if the total would exceed
    `most`.

    It is a transaction, which counts once even if it is sent twice.
    """
    if count > most:
        return False
    try:
        dynamodb.transact(
            [
                dynamodb.update(
                    TABLE,
                    bytes_key(user_id),
                    "ADD used :count",
                    values={":count": count, ":room": most - count},
                    condition="attribute_not_exists(used) OR used <= :room",
                )
            ]
        )
    except ConditionFailed:
        return False
    return True


def used_bytes_read(user_id: UserId) -> Read[int]:
    """Return the read of the bytes that are counted for a user, as of a moment ago. `settle` and `take_bytes`
    decide.
    """
    return Read(TABLE, bytes_key(user_id), lambda item: int(item["used"]) if item else 0, eventual=True)


def give_back_bytes(user_id: UserId, count: int) -> None:
    """Subtract bytes that were counted but not stored."""
    dynamodb.transact(
        [dynamodb.update(TABLE, bytes_key(user_id), "ADD used :count", values={":count": -count})]
    )


def bytes_key(user_id: UserId) -> dict[str, str]:
    """Return the key of the item that counts a user's bytes."""
    return {"media_id": f"bytes#{user_id}"}


# -- Thumbnails ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Making:
    """The state of a thumbnail: attempts begun since `since_ms`, and the result if known.

    `refusal` is the error's code and `message` its text. `whole` is the image's type if the image itself is
    small enough.
    """

    tries: int
    since_ms: int
    refusal: str = ""
    message: str = ""
    whole: str = ""


def begin_thumbnail(media_id: str, name: str, *, now_ms: int, lapsed_ms: int, expires_ms: int) -> Making:
    """Count an attempt before it is made, unless its result is known. Returns the state of the thumbnail.

    A state from before `lapsed_ms` doesn't count. One write, or two if the state had lapsed. The table
    deletes the item some time after `expires_ms`.
    """
    key = _thumbnail_key(media_id, name)
    try:
        item = dynamodb.execute(
            dynamodb.update(
                TABLE,
                key,
                "SET since_ms = if_not_exists(since_ms, :now), expires = :expires ADD tries :one",
                values={":now": now_ms, ":one": 1, ":lapsed": lapsed_ms, ":expires": expires_ms // 1000},
                condition="attribute_not_exists(since_ms) OR (since_ms >= :lapsed"
                " AND attribute_not_exists(refusal) AND attribute_not_exists(whole))",
                return_old=True,
            ),
            returning="ALL_NEW",
        )
    except ConditionFailed as error:
        item = error.item()
    if item is None or item["since_ms"] < lapsed_ms:
        item = {"tries": 1, "since_ms": now_ms}
        dynamodb.execute(dynamodb.put(TABLE, {**key, **item, "expires": expires_ms // 1000}))
    return Making(
        item.get("tries", 0),
        item["since_ms"],
        item.get("refusal", ""),
        item.get("message", ""),
        item.get("whole", ""),
    )


def refuse_thumbnail(media_id: str, name: str, *, refusal: str, message: str) -> None:
    """Store that a thumbnail can't be made, with the error for clients."""
    _set_thumbnail(media_id, name, {"refusal": refusal, "message": message})


def keep_whole(media_id: str, name: str, content_type: str) -> None:
    """Store that the image itself serves as the thumbnail, with its type."""
    _set_thumbnail(media_id, name, {"whole": content_type})


def _set_thumbnail(media_id: str, name: str, attributes: Mapping[str, str]) -> None:
    dynamodb.execute(
        dynamodb.update(
            TABLE,
            _thumbnail_key(media_id, name),
            f"SET {', '.join(f'{each} = :{each}' for each in attributes)}",
            values={f":{each}": value for each, value in attributes.items()},
            condition="attribute_exists(since_ms)",
        )
    )


def _thumbnail_key(media_id: str, name: str) -> dict[str, str]:
    return {"media_id": f"thumbnail#{media_id}#{name}"}


# -- Pending uploads -------------------------------------------------------------------------------------


def create_pending(
    media_id: str,
    user_id: UserId,
    *,
    now_ms: int,
    until_ms: int,
    limit: int,
    device_id: DeviceId | None = None,
) -> int | None:
    """Add an ID without content, and return None. With `device_id`, an upload through CloudFront is allowed.

    If the user has `limit` pending IDs already, returns when the first of those ends (milliseconds since the
    epoch). Raises ConditionFailed if the ID is taken, or others keep changing the list.
    """
    for attempt in range(ATTEMPTS):
        listed = dynamodb.get(TABLE, _list_key(user_id))
        pending: dict[str, int] = listed["pending"] if listed else {}
        current = {each: ends for each, ends in pending.items() if ends > now_ms}
        if len(current) >= limit:
            return min(current.values())
        item: Item = {"media_id": media_id, "user_id": user_id, "pending_until_ms": until_ms}
        if device_id is not None:
            item["device_id"] = device_id
        writes = [
            dynamodb.put(TABLE, item, condition="attribute_not_exists(media_id)").named("media ID"),
            _list_write(user_id, pending if listed else None, {**current, media_id: until_ms}),
        ]
        try:
            dynamodb.transact(writes)
        except ConditionFailed as error:
            if error.refused("media ID"):
                raise
            pause(attempt)
            continue
        return None
    raise ConditionFailed()


def complete(media: Media, content: Content) -> None:
    """Give a pending ID its content. Raises ConditionFailed if it has content already.

    It is a transaction because a retried transaction succeeds; a retried single write would be refused
    because of its own first attempt.
    """
    dynamodb.transact([_give(media, content, condition=_PENDING), _unlist(media)])


def settle(media: Media, content: Content, *, most: int) -> None:
    """Give a pending ID its content, which CloudFront stored, and count its bytes in the user's quota.

    Raises ConditionFailed: "media" if the ID isn't pending or another upload to it has begun, "quota" if the
    user would have more than `most` bytes (0 for no limit).
    """
    writes = [
        _give(media, content, condition=_PENDING).named("media"),
        _unlist(media),
    ]
    if most:
        writes.append(
            dynamodb.update(
                TABLE,
                bytes_key(media.user_id),
                "ADD used :count",
                values={":count": content.size, ":room": most - content.size},
                condition="attribute_not_exists(used) OR used <= :room",
            ).named("quota")
        )
    dynamodb.transact(writes)


def refuse(media: Media, *, expires_ms: int) -> None:
    """Record that the upload to a pending ID was refused: it accepts no content any more.

    The table deletes the item some time after `expires_ms`. Raises ConditionFailed if the ID isn't pending,
    or an upload has begun.
    """
    dynamodb.transact(
        [
            dynamodb.update(
                TABLE,
                {"media_id": media.media_id},
                "SET expires = :expires REMOVE pending_until_ms, device_id",
                values={":expires": expires_ms // 1000},
                condition=_PENDING,
            ),
            _unlist(media),
        ]
    )


def _unlist(media: Media) -> Write:
    """Return the write that removes an ID from the list of its user's pending ones."""
    return dynamodb.update(
        TABLE,
        _list_key(media.user_id),
        "REMOVE pending.#media_id",
        names={"#media_id": media.media_id},
        condition="attribute_exists(media_id)",
    )


def _list_key(user_id: UserId) -> dict[str, str]:
    return {"media_id": f"pending#{user_id}"}


def _list_write(user_id: UserId, old: Mapping[str, int] | None, new: Mapping[str, int]) -> Write:
    return dynamodb.put(
        TABLE,
        {**_list_key(user_id), "pending": dict(new)},
        condition="attribute_not_exists(media_id)" if old is None else "pending = :old",
        values=None if old is None else {":old": dict(old)},
    )
