"""Media that an operator has taken away: items of the table `media` with `quarantined_ms`.

A user's own file keeps its item and its bytes, and nobody is given it. Another server's file and a preview's
image would come back when somebody asks for them: their item stays without bytes and never expires. As long
as an item has `quarantined_ms`, nothing else replaces it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import attributes, dynamodb
from murmuration.aws.dynamodb import Item
from murmuration.aws.reads import Read
from murmuration.storage.media import TABLE, Content, content_of
from murmuration.storage.remote_media import remote_key

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName, UserId

FOREVER_S = 253_402_300_799
"""The last second of the year 9999. An item that expires then stays."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of media, also of those that nobody is given.

    `user_id` is None for another server's file and for a preview's image. `content` is None if no bytes are
    here; those of an upload that has begun may be here. `quarantined_ms` is 0 for media that aren't
    quarantined.
    """

    user_id: UserId | None
    content: Content | None
    quarantined_ms: int
    media_id: str = ""


def own_read(media_id: str) -> Read[Stored | None]:
    """Return the read of media of this server."""
    return Read(TABLE, {"media_id": media_id}, _parse)


def remote_read(server_name: ServerName, media_id: str) -> Read[Stored | None]:
    """Return the read of another server's file."""
    return Read(TABLE, remote_key(server_name, media_id), _parse)


def _parse(item: Item | None) -> Stored | None:
    if item is None:
        return None
    return Stored(
        item.get("user_id") or None,
        content_of(item) or content_of(item.get("begun", {})),
        item.get("quarantined_ms", 0),
        item["media_id"],
    )


def read_newest(user_id: UserId, *, before: tuple[int, str] | None, limit: int) -> list[Stored]:
    """Return the newest files that a user uploaded, the newest first.

    `before` is the time and the ID of the last file of an earlier page. Reads the whole table.
    """
    return heapq.nlargest(limit, _uploads_of(user_id, before), key=place_of)


def place_of(found: Stored) -> tuple[int, str]:
    """Return the time of the upload and the ID, by which a user's files are sorted."""
    return (found.content.uploaded_ms if found.content else 0), found.media_id


def _uploads_of(user_id: UserId, before: tuple[int, str] | None) -> Iterator[Stored]:
    for item in dynamodb.scan(
        TABLE,
        FilterExpression="user_id = :user AND attribute_exists(uploaded_ms)",
        ExpressionAttributeValues=attributes.to_attributes({":user": user_id}),
    ):
        found = _parse(item)
        if found is not None and (before is None or place_of(found) < before):
            yield found


def quarantine_own(media_id: str, *, now_ms: int) -> bool:
    """Hide a user's file from everybody. Returns False if there is no such file."""
    return dynamodb.try_execute(
        dynamodb.update(
            TABLE,
            {"media_id": media_id},
            "SET quarantined_ms = if_not_exists(quarantined_ms, :now)",
            values={":now": now_ms},
            condition="attribute_exists(user_id)",
        )
    )


def quarantine_preview(media_id: str, *, now_ms: int) -> None:
    """Replace the item of a preview's image by one that no later preview replaces."""
    dynamodb.execute(dynamodb.put(TABLE, {"media_id": media_id, "user_id": "", "quarantined_ms": now_ms}))


def quarantine_remote(server_name: ServerName, media_id: str, *, message: str, now_ms: int) -> None:
    """Replace the item of another server's file, or of its fetch, by an error that stays.

    It may be a file of which nothing is here yet.
    """
    item: Item = {
        **remote_key(server_name, media_id),
        "status": 404,
        "errcode": "M_NOT_FOUND",
        "message": message,
        "quarantined_ms": now_ms,
        "expires": FOREVER_S,
    }
    dynamodb.execute(dynamodb.put(TABLE, item))


def begin_removal(media_id: str) -> bool:
    """Hide a user's file for good: the search for unused files also ends its removal. Returns False if there
    is no such file.
    """
    return dynamodb.try_execute(
        dynamodb.update(
            TABLE,
            {"media_id": media_id},
            "SET deleting = :yes",
            names={"#object": "object"},
            values={":yes": True, ":none": ""},
            condition="(attribute_exists(#object) OR attribute_exists(begun)) AND user_id <> :none",
        )
    )


def release_own(media_id: str) -> bool:
    """Show a user's file again. Returns False if it isn't quarantined."""
    return dynamodb.try_execute(
        dynamodb.update(
            TABLE,
            {"media_id": media_id},
            "REMOVE quarantined_ms",
            condition="attribute_exists(quarantined_ms)",
        )
    )


def release_copy(read: Read[Stored | None]) -> bool:
    """Let a copy come here again: another server's file, or a preview's image. Returns False if it isn't
    quarantined.
    """
    return dynamodb.try_execute(
        dynamodb.delete(TABLE, read.key, condition="attribute_exists(quarantined_ms)")
    )
