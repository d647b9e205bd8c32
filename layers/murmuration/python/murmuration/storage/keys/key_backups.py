"""Backups of room keys: items of the table `keys`.

    backup#count                            how many versions were ever created
    backup#version#<number>                 a version: its metadata, count of keys, `etag`
    backup#key#<number>#<room>#<session>    a key

Keys change only together with their version's count, size and `etag`, in one transaction. So these are exact,
and of two concurrent changes the later one starts from the result of the other. A deleted version leaves a
mark.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, StoredItem, Write
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import NotFound, TooLarge, Unavailable
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.storage import counts
from murmuration.storage.live.streams import ATTEMPTS, pause

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject

TABLE = "keys"
MOST_VERSIONS = 1_000
"""How many backups a user may ever create. Each leaves a mark, which is read to find the current one."""
MOST_ALIVE = 100
"""How many of them may exist at a time."""
MOST_BYTES = 2_000_000_000
"""The maximum size of the keys of one backup. 400,000 keys have about 400 MB."""
KEY_BYTES = 300
"""The size of a stored key in addition to its content."""
USUAL_KEY_BYTES = 1_000
"""The assumed size of keys that were stored before sizes were counted."""
DELETING_S = 18
"""How long one request deletes keys; API Gateway gives up after 29 s."""
CHUNK_KEYS = 90
CHUNK_BYTES = 3_000_000
T = TypeVar("T")

SessionId = tuple[RoomId, str]
"""A room ID, and a session ID within it."""
BackedUpKey = Mapping[str, Any]
"""A session's key as a client backed it up. Only fields such as `first_message_index` are used."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a user's backup; `etag` counts the changes of its keys."""

    number: int
    algorithm: str
    auth_data: JsonObject
    count: int
    etag: int
    deleted: bool
    size: int = 0


# -- Versions --------------------------------------------------------------------------------------------


def create_version(user_id: UserId, algorithm: str, auth_data: JsonObject) -> int:
    """Add a version, which becomes the current one, and return its number. Raises TooLarge if there are too
    many.
    """
    if len(_alive(user_id, MOST_ALIVE)) == MOST_ALIVE:
        raise TooLarge(f"A user may have {MOST_ALIVE} backups at a time; delete one")
    counted = counts.count_write(TABLE, {"user_id": user_id, "sk": "backup#count"}, "versions", MOST_VERSIONS)
    try:
        counter = dynamodb.execute(counted, returning="ALL_NEW")
    except ConditionFailed as error:
        raise TooLarge(f"A user may make {MOST_VERSIONS} backups") from error
    number: int = (counter or {})["versions"]
    item = {
        **_version_key(user_id, number),
        "algorithm": algorithm,
        "auth_data": _encode(auth_data),
        "count": 0,
        "size": 0,
        "etag": 0,
        "deleted": False,
    }
    dynamodb.execute(dynamodb.put(TABLE, item))
    return number


def read_version(user_id: UserId, number: int) -> Version | None:
    """Return a version; a deleted one has `deleted` set. None if it never existed."""
    item = dynamodb.get(TABLE, _version_key(user_id, number))
    return _version(item) if item else None


def read_current(user_id: UserId) -> Version | None:
    """Return the newest version that isn't deleted; None if there is none."""
    return next(iter(_alive(user_id, 1)), None)


def _alive(user_id: UserId, most: int) -> list[Version]:
    """Return the newest versions that aren't deleted. One request for 100 versions; most users have few."""
    found: list[Version] = []
    pages = dynamodb.query_pages(
        TABLE,
        "user_id = :user AND begins_with(sk, :prefix)",
        {":user": user_id, ":prefix": "backup#version#"},
        forward=False,
        limit=100,
    )
    for page in pages:
        found += [_version(item) for item in page.items if not item["deleted"]]
        if len(found) >= most:
            break
    return found[:most]


def update_auth_data(user_id: UserId, number: int, auth_data: JsonObject) -> None:
    """Replace a version's `auth_data`. Raises ConditionFailed if the version is deleted or unknown."""
    dynamodb.execute(
        dynamodb.update(
            TABLE,
            _version_key(user_id, number),
            "SET auth_data = :auth_data",
            values={":auth_data": _encode(auth_data), ":false": False},
            condition="deleted = :false",
        )
    )


def delete_version(user_id: UserId, number: int) -> None:
    """Mark a version as deleted, and delete its keys.

    Raises ConditionFailed if it never existed, and Unavailable if it has more keys than can be deleted in one
    request: a repetition deletes the others.
    """
    deadline = time.monotonic() + DELETING_S
    dynamodb.execute(
        dynamodb.update(
            TABLE,
            _version_key(user_id, number),
            "SET deleted = :true, auth_data = :nothing",
            values={":true": True, ":nothing": "{}"},
            condition="attribute_exists(user_id)",
        )
    )
    after = None
    while True:
        page = _key_page(user_id, number, after=after, attributes=("user_id", "sk"))
        dynamodb.batch_write([dynamodb.delete(TABLE, key) for key in page.items])
        after = page.more
        if after is None:
            return
        if time.monotonic() > deadline:
            raise Unavailable("The backup is deleted, but not all of its keys yet; try again")


def _version_key(user_id: UserId, number: int) -> dict[str, str]:
    return {"user_id": user_id, "sk": f"backup#version#{number:08}"}


def _version(item: StoredItem) -> Version:
    return Version(
        int(item["sk"].rpartition("#")[2]),
        item["algorithm"],
        json.loads(item["auth_data"]),
        item["count"],
        item["etag"],
        item["deleted"],
        item.get("size", item["count"] * USUAL_KEY_BYTES),
    )


def _encode(value: BackedUpKey) -> str:
    return canonical_json.encode(value, strict=False).decode()


# -- Keys ------------------------------------------------------------------------------------------------


def read_keys(
    user_id: UserId, number: int, room_id: RoomId | None = None, session_id: str | None = None
) -> dict[SessionId, JsonObject]:
    """Return the keys of a version: all, those of a room, or the one of a session."""
    return {
        (item["room_id"], item["session_id"]): json.loads(item["key"])
        for item in _read_items(user_id, number, room_id, session_id)
    }


def iterate_keys(
    user_id: UserId, number: int, room_id: RoomId | Literal[""] = ""
) -> Iterator[tuple[SessionId, str]]:
    """Yield the keys of a version or of one room in it, room by room, as the stored JSON texts."""
    prefix = _key_prefix(number) + (f"{room_id}#" if room_id else "")
    pages = dynamodb.query_pages(
        TABLE, "user_id = :user AND begins_with(sk, :prefix)", {":user": user_id, ":prefix": prefix}
    )
    for item in (item for page in pages for item in page.items):
        if room_id in ("", item["room_id"]):
            yield (item["room_id"], item["session_id"]), item["key"]


def put_keys(
    user_id: UserId,
    number: int,
    keys: Mapping[SessionId, BackedUpKey],
    is_better: Callable[[BackedUpKey, BackedUpKey], bool],
) -> Version:
    """Store keys and return the version afterwards. A stored key is replaced if `is_better(new, stored)`.

    Raises NotFound if the version doesn't exist any more, TooLarge if it would get too large, Unavailable.
    """
    version = None
    for chunk in _chunks((session, _encode(key)) for session, key in keys.items()):
        version = _retry(functools.partial(_put_chunk, user_id, number, chunk, is_better))
    return version or _require_version(user_id, number)


def _chunks(keys: Iterable[tuple[SessionId, str]]) -> Iterator[dict[SessionId, str]]:
    chunk: dict[SessionId, str] = {}
    size = 0
    for session, key in keys:
        if len(chunk) == CHUNK_KEYS or size + len(key) > CHUNK_BYTES:
            yield chunk
            chunk, size = {}, 0
        chunk[session] = key
        size += len(key)
    if chunk:
        yield chunk


def _put_chunk(
    user_id: UserId,
    number: int,
    chunk: Mapping[SessionId, str],
    is_better: Callable[[BackedUpKey, BackedUpKey], bool],
) -> Version:
    version = _require_version(user_id, number)
    # Read after the version, because the transaction's condition is that the version is unchanged.
    found = dynamodb.batch_get({TABLE: [_session_key(user_id, number, *session) for session in chunk]})
    stored = {(item["room_id"], item["session_id"]): item["key"] for item in found[TABLE]}
    better = {
        session: key
        for session, key in chunk.items()
        if session not in stored or is_better(json.loads(key), json.loads(stored[session]))
    }
    sizes = [len(key) + KEY_BYTES for key in better.values()]
    replaced = [len(key) + KEY_BYTES for session, key in stored.items() if session in better]
    grown = sum(sizes) - sum(replaced)
    if grown > 0 and version.size + grown > MOST_BYTES:
        raise TooLarge(f"A backup may have {MOST_BYTES:,} bytes")
    puts = [
        dynamodb.put(
            TABLE,
            {
                **_session_key(user_id, number, *session),
                "room_id": session[0],
                "session_id": session[1],
                "key": key,
            },
        )
        for session, key in better.items()
    ]
    return _change(user_id, version, puts, added=len(better.keys() - stored.keys()), grown=grown)


def delete_keys(
    user_id: UserId, number: int, room_id: RoomId | None = None, session_id: str | None = None
) -> Version:
    """Delete keys and return the version afterwards: all keys, those of a room, or the one of a session.

    Raises NotFound if the version doesn't exist any more, and Unavailable, also if there are more keys than
    can be deleted in one request: a repetition deletes the others.
    """
    deadline = time.monotonic() + DELETING_S
    after = None
    while True:
        delete = functools.partial(_delete_chunk, user_id, number, room_id, session_id, after)
        version, after = _retry(delete)
        if after is None:
            return version
        if time.monotonic() > deadline:
            raise Unavailable("Not all of the keys are deleted yet; try again")


def _delete_chunk(
    user_id: UserId, number: int, room_id: RoomId | None, session_id: str | None, after: Item | None
) -> tuple[Version, Item | None]:
    """Delete the next keys. Returns the version afterwards, and the key after which to continue."""
    version = _require_version(user_id, number)
    if room_id is not None and session_id is not None:
        found, more = _read_items(user_id, number, room_id, session_id), None
    else:
        prefix = "" if room_id is None else f"{room_id}#"
        page = _key_page(user_id, number, prefix, after=after, limit=CHUNK_KEYS)
        found, more = page.items, page.more
    items = [item for item in found if room_id in (None, item["room_id"])]
    deletes = [dynamodb.delete(TABLE, {"user_id": user_id, "sk": item["sk"]}) for item in items]
    size = sum(len(item["key"]) + KEY_BYTES for item in items)
    return _change(user_id, version, deletes, added=-len(deletes), grown=-size), more


def _change(user_id: UserId, version: Version, writes: Sequence[Write], *, added: int, grown: int) -> Version:
    """Make changes of keys, and count them. Raises ConditionFailed if the version has changed."""
    if not writes:
        return version
    count, etag = version.count + added, version.etag + 1
    size = max(0, version.size + grown) if count else 0
    move = dynamodb.update(
        TABLE,
        _version_key(user_id, version.number),
        "SET #count = :count, #size = :size, etag = :etag",
        names={"#count": "count", "#size": "size"},
        values={":count": count, ":size": size, ":etag": etag, ":old": version.etag, ":false": False},
        condition="etag = :old AND deleted = :false",
    )
    dynamodb.transact([move, *writes])
    return Version(version.number, version.algorithm, version.auth_data, count, etag, False, size)


def _require_version(user_id: UserId, number: int) -> Version:
    version = read_version(user_id, number)
    if version is None or version.deleted:
        raise NotFound("Unknown backup version")
    return version


def _retry(change: Callable[[], T]) -> T:
    for attempt in range(ATTEMPTS):
        try:
            return change()
        except ConditionFailed:
            pause(attempt)
    raise Unavailable("Too many requests change the backup at once; try again")


def _session_key(user_id: UserId, number: int, room_id: RoomId, session_id: str) -> dict[str, str]:
    return {"user_id": user_id, "sk": f"{_key_prefix(number)}{room_id}#{session_id}"}


def _key_prefix(number: int) -> str:
    return f"backup#key#{number:08}#"


def _read_items(user_id: UserId, number: int, room_id: RoomId | None, session_id: str | None) -> list[Item]:
    if room_id is not None and session_id is not None:
        item = dynamodb.get(TABLE, _session_key(user_id, number, room_id, session_id))
        return [item] if item else []
    items = _query_keys(user_id, number, "" if room_id is None else f"{room_id}#")
    return [item for item in items if room_id in (None, item["room_id"])]


def _query_keys(user_id: UserId, number: int, prefix: str = "") -> list[Item]:
    return dynamodb.query(
        TABLE,
        "user_id = :user AND begins_with(sk, :prefix)",
        {":user": user_id, ":prefix": _key_prefix(number) + prefix},
    )


def _key_page(
    user_id: UserId,
    number: int,
    prefix: str = "",
    *,
    after: Item | None,
    limit: int | None = None,
    attributes: Sequence[str] = (),
) -> dynamodb.Page:
    return dynamodb.query_page(
        TABLE,
        "user_id = :user AND begins_with(sk, :prefix)",
        {":user": user_id, ":prefix": _key_prefix(number) + prefix},
        after=after,
        limit=limit,
        attributes=attributes,
    )
