"""Fetched media of other servers: items of the table `media`, which expire.

`remote#<server>#<media ID>` is a fetched file (`object` and its metadata), a file that is being fetched
(`claim`), or one that couldn't be fetched or is quarantined (`status`, `errcode`, `message`). `used_ms` is
when a use of the file was last noted. An expired item may stay in the table for days, and counts as deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Attributes, ConditionFailed, StoredItem
from murmuration.storage.media import TABLE, Content, content_attributes, content_of

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName


@dataclass(frozen=True, slots=True)
class Failure:
    """The error for clients that says why a file couldn't be fetched."""

    status: int
    errcode: str
    message: str


@dataclass(frozen=True, slots=True)
class RemoteMedia:
    """The record of a remote file. `claimed_until_ms` is 0 if nobody is fetching it."""

    content: Content | None
    failure: Failure | None
    claimed_until_ms: int
    used_ms: int


UNKNOWN = RemoteMedia(None, None, 0, 0)


def read(server_name: ServerName, media_id: str, *, now_ms: int) -> RemoteMedia:
    """Return the record of a remote file. One read."""
    item = dynamodb.get(TABLE, remote_key(server_name, media_id))
    return UNKNOWN if item is None or item["expires"] * 1000 <= now_ms else _parse(item)


def _parse(item: StoredItem) -> RemoteMedia:
    failure = Failure(item["status"], item["errcode"], item["message"]) if "status" in item else None
    return RemoteMedia(
        content_of(item), failure, int(item.get("claimed_until_ms", 0)), int(item.get("used_ms", 0))
    )


def claim(
    server_name: ServerName, media_id: str, token: str, *, now_ms: int, until_ms: int, lost: str = ""
) -> bool:
    """Claim a file before fetching it. Returns False if another function is fetching it, or it has been
    fetched.

    `lost` is an object that the bucket no longer has: an item that names it is ignored. A quarantined file
    can't be claimed. The condition
    prevents two concurrent fetches of one file; an expired claim is ignored.
    """
    expires = until_ms // 1000 + 3600
    item = {
        **remote_key(server_name, media_id),
        "claim": token,
        "claimed_until_ms": until_ms,
        "expires": expires,
    }
    unclaimed = "attribute_not_exists(claimed_until_ms) OR claimed_until_ms < :now"
    free = f"(attribute_not_exists(#object) AND attribute_not_exists(quarantined_ms) AND ({unclaimed}))"
    write = dynamodb.put(
        TABLE,
        item,
        condition=f"{free} OR #object = :lost OR expires <= :seconds",
        names={"#object": "object"},
        values={":now": now_ms, ":lost": lost or "none", ":seconds": now_ms // 1000},
    )
    try:
        dynamodb.transact([write])
    except ConditionFailed:
        return False
    return True


def finish(
    server_name: ServerName, media_id: str, token: str, content: Content, *, now_ms: int, expires_ms: int
) -> None:
    """Store a fetched file. Raises ConditionFailed if another function has the claim by now."""
    _replace(
        server_name,
        media_id,
        token,
        {**content_attributes(content), "used_ms": now_ms, "expires": expires_ms // 1000},
    )


def fail(server_name: ServerName, media_id: str, token: str, failure: Failure, *, expires_ms: int) -> None:
    """Store why a file couldn't be fetched. Raises ConditionFailed if another function has the claim by
    now.
    """
    attributes: Attributes = {
        "status": failure.status,
        "errcode": failure.errcode,
        "message": failure.message,
    }
    _replace(server_name, media_id, token, {**attributes, "expires": expires_ms // 1000})


def _replace(server_name: ServerName, media_id: str, token: str, attributes: Attributes) -> None:
    """Replace the claim by these attributes. Raises ConditionFailed if another function has the claim.

    It is a transaction because a retried transaction succeeds; a retried single write would be refused.
    """
    write = dynamodb.put(
        TABLE,
        {**remote_key(server_name, media_id), **attributes},
        condition="claim = :token",
        values={":token": token},
    )
    dynamodb.transact([write])


def note_use(
    server_name: ServerName, media_id: str, content: Content, *, before_ms: int, now_ms: int, expires_ms: int
) -> bool:
    """Record a use of the file, if the last one was recorded at `before_ms`. Returns whether this call
    recorded it.

    Of several concurrent readers only one records it.
    """
    write = dynamodb.update(
        TABLE,
        remote_key(server_name, media_id),
        "SET used_ms = :now, expires = :expires",
        names={"#object": "object"},
        values={
            ":now": now_ms,
            ":expires": expires_ms // 1000,
            ":before": before_ms,
            ":object": content.object,
        },
        condition="#object = :object AND used_ms = :before",
    )
    return dynamodb.try_execute(write)


def remote_key(server_name: ServerName, media_id: str) -> dict[str, str]:
    """Return the key of another server's file."""
    return {"media_id": f"remote#{server_name}#{media_id}"}
