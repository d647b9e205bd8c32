"""The reads and writes by which this server's own files expire after their last use.

While the setting `local_media_days` is on, an own file's item in the table `media` has `used_ms`, the time of
the last recorded use, and `deleting` once its deletion has begun: then nobody finds it any more. The item
`unused#` has `since_ms`, when the recording of uses began, and `after`, the item with which to continue if a
search had no time for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import attributes, dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item
from murmuration.aws.reads import Read, fetch
from murmuration.storage.media import TABLE, bytes_key, content_of

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId
    from murmuration.storage.media import Content

_SEARCH: Mapping[str, str] = {"media_id": "unused#"}
OWN = "media/"
"""The prefix of the keys of uploaded files."""


@dataclass(frozen=True, slots=True)
class Search:
    """When the recording of uses began, and the item after which to continue; None to start from the
    beginning.
    """

    since_ms: int
    after: Item | None = None


@dataclass(frozen=True, slots=True)
class OwnFile:
    """An uploaded file. `used_ms` is 0 if no use was recorded yet."""

    media_id: str
    user_id: UserId
    content: Content
    used_ms: int
    deleting: bool


def read_search() -> Search | None:
    """Return the state of the search; None if uses aren't recorded yet."""

    def parse(item: Item | None) -> Search | None:
        return Search(item["since_ms"], item.get("after")) if item is not None else None

    return fetch(Read(TABLE, _SEARCH, parse))


def write_search(search: Search | None) -> None:
    """Store the state of the search; None forgets it."""
    if search is None:
        dynamodb.execute(dynamodb.delete(TABLE, _SEARCH))
        return
    item: Item = {**_SEARCH, "since_ms": search.since_ms}
    if search.after is not None:
        item["after"] = search.after
    dynamodb.execute(dynamodb.put(TABLE, item))


def read_files(after: Item | None) -> tuple[list[OwnFile], Item | None]:
    """Return some uploaded files after an item, and the item after which to continue; None at the end.

    This is one request. It reads through the items of all media, so use it rarely.
    """
    page = dynamodb.scan_page(
        TABLE,
        after=after,
        FilterExpression="begins_with(#object, :own)",
        ExpressionAttributeNames={"#object": "object"},
        ExpressionAttributeValues=attributes.to_attributes({":own": OWN}),
    )
    files = [
        OwnFile(item["media_id"], item["user_id"], content, item.get("used_ms", 0), "deleting" in item)
        for item in page.items
        if (content := content_of(item)) is not None
    ]
    return files, page.more


def note_use(media_id: str, *, before_ms: int, now_ms: int) -> None:
    """Record a use of a file, if the last one was recorded at `before_ms`.

    Of several concurrent readers only one records it, and none once its deletion has begun.
    """
    dynamodb.try_execute(
        dynamodb.update(
            TABLE,
            {"media_id": media_id},
            "SET used_ms = :now",
            values={":now": now_ms, ":before": before_ms},
            condition="attribute_exists(media_id) AND attribute_not_exists(deleting)"
            " AND (attribute_not_exists(used_ms) OR used_ms = :before)",
        )
    )


def begin_deletion(file: OwnFile) -> bool:
    """Hide a file from everybody. Returns False if it was used meanwhile, is gone or quarantined."""
    return dynamodb.try_execute(
        dynamodb.update(
            TABLE,
            {"media_id": file.media_id},
            "SET deleting = :yes",
            values={":yes": True, ":before": file.used_ms},
            condition="attribute_exists(media_id) AND attribute_not_exists(quarantined_ms)"
            " AND (attribute_not_exists(used_ms) OR used_ms = :before)",
        )
    )


def finish_deletion(file: OwnFile) -> None:
    """Delete the item of a file whose deletion has begun, and give its bytes back to its owner's quota.

    It is one transaction, so the bytes are given back once. Does nothing if the item is gone. Some files were
    never counted, so the count isn't reduced below 0.
    """
    gone = dynamodb.delete(TABLE, {"media_id": file.media_id}, condition="attribute_exists(deleting)")
    counted = dynamodb.update(
        TABLE,
        bytes_key(file.user_id),
        "SET used = used - :size",
        values={":size": file.content.size},
        condition="used >= :size",
    )
    try:
        dynamodb.transact([gone.named("file"), counted])
    except ConditionFailed as error:
        if error.refused("file"):
            return
        emptied = dynamodb.update(TABLE, bytes_key(file.user_id), "SET used = :none", values={":none": 0})
        dynamodb.transact([gone, emptied])
