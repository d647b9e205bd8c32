"""Presence: the item `user:<user>`, `presence` of the table `streams`, one for each user.

It has no position in a stream's order. The Streams worker gets its changes and tells others by *markers*:
items `presence#<user>` in the streams of rooms or users. A marker says only that a user's presence changed;
`via` is the room through which a user may see it (empty: their presence list).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, StoredItem
from murmuration.aws.reads import Read
from murmuration.protocol.identifiers import UserId
from murmuration.protocol.presence import Device, Presence
from murmuration.storage.live import streams

KEY = "presence"
MARKER = "presence#"


def key(user_id: UserId) -> dict[str, str]:
    """Return the key of a user's presence in the table `streams`."""
    return {"stream_id": streams.user_stream(user_id), "sk": KEY}


def from_item(item: StoredItem | None) -> Presence:
    if item is None:
        return Presence()
    return Presence(
        devices={name: Device(*value) for name, value in item["devices"].items()},
        status_msg=item.get("status_msg"),
        last_active_ms=item["last_active_ms"],
        changed_ms=item["changed_ms"],
        came_ms=item["came_ms"],
        away_ms=item["away_ms"],
        capabilities=item.get("capabilities", {}),
    )


def presence_read(user_id: UserId) -> Read[Presence]:
    """Return the read of a user's presence; for an unknown user its value is a default presence."""
    return Read(streams.TABLE, key(user_id), from_item)


def item_read(user_id: UserId) -> Read[Item | None]:
    """Return the read of the item of a user's presence, for `save`."""
    return Read(streams.TABLE, key(user_id), lambda item: item)


def read(user_id: UserId) -> Item | None:
    return dynamodb.get(streams.TABLE, key(user_id))


def read_many(user_ids: Collection[UserId]) -> dict[UserId, Presence]:
    """Return the presence of those users that have one, with consistent reads. One round trip for a
    hundred.
    """
    if not user_ids:
        return {}
    found = dynamodb.batch_get({streams.TABLE: [key(user_id) for user_id in sorted(user_ids)]})
    return {item["stream_id"].partition(":")[2]: from_item(item) for item in found[streams.TABLE]}


def save(user_id: UserId, before: StoredItem | None, after: Presence, written_ms: int) -> bool:
    """Replace the item `before` by `after`. Returns whether `before` was still there.

    `written_ms` is the time of this change: others are told of it if it equals `after.changed_ms`.
    """
    revision = before["revision"] if before is not None else 0
    item: Item = {
        **key(user_id),
        "revision": revision + 1,
        "devices": {name: [device.presence, device.until_ms] for name, device in after.devices.items()},
        "last_active_ms": after.last_active_ms,
        "changed_ms": after.changed_ms,
        "came_ms": after.came_ms,
        "away_ms": after.away_ms,
        "written_ms": written_ms,
    }
    if after.status_msg is not None:
        item["status_msg"] = after.status_msg
    if after.capabilities:
        item["capabilities"] = after.capabilities
    condition, values = "attribute_not_exists(sk)", {}
    if before is not None:
        condition, values = "revision = :revision", {":revision": revision}
    return dynamodb.try_execute(dynamodb.put(streams.TABLE, item, condition=condition, values=values))


@dataclass(frozen=True, slots=True)
class NewPresence:
    """A presence that was just stored.

    Others are told of it if it `changed`. A user who just `came` to an event stream is told what they missed.
    `age_ms` is how long others have seen the same presence.
    """

    presence: Presence
    changed: bool
    came: bool
    age_ms: int = 0


def marker(user_id: UserId, via: str) -> Item:
    return {"sk": MARKER + user_id, "via": via}


def user_of(item: StoredItem) -> UserId | None:
    """Return the user whose presence a marker in a stream is about; None for other items."""
    sk = str(item["sk"])
    return UserId(sk.removeprefix(MARKER)) if sk.startswith(MARKER) else None


def newest_of(items: Iterable[StoredItem]) -> dict[UserId, NewPresence]:
    """Return the presences, among new items of the table, of which others or the user are to be told."""
    return {user_id: new for user_id, new in stored_of(items).items() if new.changed or new.came}


def stored_of(items: Iterable[StoredItem]) -> dict[UserId, NewPresence]:
    """Return the presences among new items of the table, by user.

    If a user has several items, the last one is used, with the reasons for telling from all of them.
    """
    found: dict[UserId, NewPresence] = {}
    for item in items:
        if item["sk"] != KEY:
            continue
        user_id = UserId(streams.owner_of(item)[1])
        before = found.get(user_id)
        changed = item["changed_ms"] == item["written_ms"] or (before is not None and before.changed)
        came = item["came_ms"] == item["written_ms"] or (before is not None and before.came)
        age_ms = int(item["written_ms"] - item["changed_ms"])
        found[user_id] = NewPresence(from_item(item), changed, came, age_ms)
    return found


def marked(items: Iterable[StoredItem]) -> dict[UserId, str]:
    """Return the users whose presence changed according to these items of a stream, each with its `via`."""
    return {item["sk"].removeprefix(MARKER): item["via"] for item in items if item["sk"].startswith(MARKER)}
