"""Relations between a room's events: the items by which the events related to another one are found.

All are written with the event that relates, and removed when it is redacted:

- The parent's log item has `groups`, the kinds of relations that it ever had, and `replies`, the number of
  events in its thread. So a reader of the event knows whether it has related events.
- `relation#<parent>#<group>#<ordinal>` in the table `rooms` is one relation. A group is one of the
  specification's relation types or of version 2's two, or `other` for all further ones. So bundling edits
  doesn't read reactions.
- `thread#<root>` is a thread; `latest` is its newest event's ordinal.
- `replies#<root>#<user>` counts a user's events in the thread.
- `annotation#<parent>#<digest>` says that a user annotated an event with one key.

A relation to an event outside the room's log isn't stored.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeGuard

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, Key, Write
from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.event_types import ENCRYPTED, REDACTION
from murmuration.protocol.events import Event
from murmuration.storage.rooms.room_items import LOG, ROOMS, LogEntry, log_key

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, UserId

ANNOTATION: Final = "m.annotation"
REFERENCE: Final = "m.reference"
REPLACE: Final = "m.replace"
THREAD: Final = "m.thread"
UPDATES, RELATES_TO = "updates", "relates_to"
"""The relations of client API version 2: keys of the content that name the parent event."""
OTHER = "other"
GROUPS = (ANNOTATION, REFERENCE, REPLACE, THREAD, UPDATES, RELATES_TO, OTHER)
UPDATING = (REPLACE, UPDATES)
"""The groups of events that can't be shown without their parent."""
_MAX_ID_LENGTH = 255
_ORDINAL_OFFSET = 10**15


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of the event at `ordinal` to another one.

    `ts` is its origin_server_ts. `replaces` says that an m.replace has new content, or may have because it is
    encrypted. `aside` says that the state before the event differs from the room's state at its place in the
    log.
    """

    ordinal: int
    event_id: EventId
    event_type: str
    rel_type: str
    sender: UserId
    ts: int
    replaces: bool
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of the room: its root's event ID and its newest event's ordinal."""

    root_id: EventId
    latest: int


def group_of(rel_type: str) -> str:
    """Return the group in which relations of this type are stored."""
    return rel_type if rel_type in GROUPS else OTHER


def relation_in(content: Content) -> tuple[EventId, str] | None:
    """Return (event ID, rel_type) of the relation in an event's content; None without a valid one.

    That is `m.relates_to`, or else `updates` or `relates_to`, which count as rel_types.
    """
    relates_to = content.get("m.relates_to")
    if isinstance(relates_to, dict):
        parent_id, rel_type = relates_to.get("event_id"), relates_to.get("rel_type")
        if _may_be_id(parent_id) and isinstance(rel_type, str) and rel_type:
            return parent_id, rel_type
    for key in (UPDATES, RELATES_TO):
        parent_id = content.get(key)
        if _may_be_id(parent_id) and parent_id.startswith("$"):
            return parent_id, key
    return None


def _may_be_id(value: object) -> TypeGuard[EventId]:
    return isinstance(value, str) and 0 < len(value.encode()) <= _MAX_ID_LENGTH


def parent_of(event: Event) -> tuple[EventId, str] | None:
    """Return (event ID, rel_type) of the event's relation; None for state and redactions, which have none."""
    return None if event.is_state or event.type == REDACTION else relation_in(event.content)


def is_update(event: Event) -> bool:
    """Return whether an event only changes another one."""
    parent = parent_of(event)
    return parent is not None and parent[1] in UPDATING


def annotation_key(content: Content) -> str | None:
    """Return the `key` of an m.annotation."""
    relates_to = content.get("m.relates_to")
    if not isinstance(relates_to, dict) or relates_to.get("rel_type") != ANNOTATION:
        return None
    key = relates_to.get("key")
    return key if isinstance(key, str) else None


# -- Keys ------------------------------------------------------------------------------------------------


def _escape(text: str) -> str:
    return text.replace("~", "~0").replace("#", "~1")


def _relation_sk(parent_id: str, group: str, ordinal: int) -> str:
    return f"relation#{_escape(parent_id)}#{group}#{ordinal + _ORDINAL_OFFSET:016d}"


def _replies_key(room_id: RoomId, root_id: str, user_id: UserId) -> dict[str, str]:
    return {"room_id": room_id, "sk": f"replies#{_escape(root_id)}#{user_id}"}


def _annotation_key(
    room_id: RoomId, parent_id: str, sender: UserId, event_type: str, annotation: str
) -> dict[str, str]:
    parts = "".join(f"{len(part)}:{part}" for part in (sender, event_type, annotation))
    digest = urlsafe_b64encode(blake2b(parts.encode(), digest_size=18).digest()).decode()
    return {"room_id": room_id, "sk": f"annotation#{_escape(parent_id)}#{digest}"}


# -- Writing ---------------------------------------------------------------------------------------------


def parents_of(entries: Iterable[LogEntry]) -> set[EventId]:
    """Return the IDs of the events that `entries` relate to."""
    return {parent[0] for entry in entries if (parent := parent_of(entry.event)) is not None}


def relation_writes(entries: Sequence[LogEntry], places: Mapping[str, int]) -> list[Write]:
    """Return the writes that store the relations of new events; `places` are their parents' ordinals in the
    log.

    For parents among `entries` themselves use `with_children` too.
    """
    own = {entry.event.event_id for entry in entries}
    writes: dict[str, Write] = {}
    families: dict[str, list[LogEntry]] = {}
    replies: dict[tuple[EventId, UserId], int] = {}
    for entry in entries:
        parent = parent_of(entry.event)
        if parent is None or (parent[0] not in places and parent[0] not in own):
            continue
        families.setdefault(parent[0], []).append(entry)
        writes |= _child_writes(entry, *parent)
        if parent[1] == THREAD:
            by_user = parent[0], entry.event.sender
            replies[by_user] = replies.get(by_user, 0) + 1
    shares = [
        _share_write(children, places[parent_id])
        for parent_id, children in families.items()
        if parent_id in places
    ]
    counts = [_count(_replies_key(entries[0].room_id, *by_user), count) for by_user, count in replies.items()]
    return [*writes.values(), *shares, *counts]


def _child_writes(entry: LogEntry, parent_id: str, rel_type: str) -> dict[str, Write]:
    """Return the writes of one relation's items, by sort key. If two have the same key, the last one
    is used.
    """
    event, room_id, group = entry.event, entry.room_id, group_of(rel_type)
    relation: Item = {
        "room_id": room_id,
        "sk": _relation_sk(parent_id, group, entry.ordinal),
        "ordinal": entry.ordinal,
        "event_id": event.event_id,
        "event_type": event.type,
        "rel_type": rel_type,
        "sender": event.sender,
        "ts": event.origin_server_ts,
    }
    if entry.is_aside:
        relation["aside"] = True
    if group == REPLACE:
        new_content = event.content.get("m.new_content")
        relation["replaces"] = isinstance(new_content, dict) or event.type == ENCRYPTED
    items = [relation]
    if group == THREAD:
        thread = {"room_id": room_id, "sk": f"thread#{_escape(parent_id)}", "root_id": parent_id}
        if not entry.is_past:
            items.append({**thread, "latest": entry.ordinal})
    if (key := annotation_key(event.content)) is not None:
        annotated = _annotation_key(room_id, parent_id, event.sender, event.type, key)
        items.append({**annotated, "event_id": event.event_id})
    writes = {item["sk"]: dynamodb.put(ROOMS, item) for item in items}
    if group == THREAD and entry.is_past:
        sk = f"thread#{_escape(parent_id)}"
        writes[sk] = dynamodb.update(
            ROOMS,
            {"room_id": room_id, "sk": sk},
            "SET root_id = :root, latest = if_not_exists(latest, :ordinal)",
            values={":root": parent_id, ":ordinal": entry.ordinal},
        )
    return writes


def _share(children: Iterable[LogEntry]) -> tuple[frozenset[str], int]:
    """Return the groups of the events' relations, and how many of the events are in a thread."""
    groups = [group_of(parent[1]) for child in children if (parent := parent_of(child.event)) is not None]
    return frozenset(groups), groups.count(THREAD)


def _share_write(children: Sequence[LogEntry], ordinal: int) -> Write:
    """Return the write that adds new children to the log item of the parent at `ordinal`."""
    groups, replies = _share(children)
    return dynamodb.update(
        LOG,
        log_key(children[0].room_id, ordinal),
        "ADD groups :groups, replies :replies" if replies else "ADD groups :groups",
        values={":groups": groups} | ({":replies": replies} if replies else {}),
    )


def with_children(entry: LogEntry, entries: Iterable[LogEntry]) -> LogEntry:
    """Return `entry` with the relations of those `entries` that relate to it, for writing them together."""
    event_id = entry.event.event_id
    groups, replies = _share(
        child for child in entries if (parent := parent_of(child.event)) and parent[0] == event_id
    )
    if not groups:
        return entry
    return replace(entry, groups=entry.groups | groups, replies=entry.replies + replies)


def _count(key: Key, step: int) -> Write:
    return dynamodb.update(ROOMS, key, "ADD replies :step", values={":step": step})


def relation_removals(entry: LogEntry, parent_ordinal: int | None) -> list[Write]:
    """Return the writes that undo `relation_writes` for one redacted event. Execute them only once."""
    event, room_id = entry.event, entry.room_id
    parent = parent_of(event)
    if parent is None or parent_ordinal is None:
        return []
    parent_id, rel_type = parent
    group = group_of(rel_type)
    removals = [
        dynamodb.delete(ROOMS, {"room_id": room_id, "sk": _relation_sk(parent_id, group, entry.ordinal)})
    ]
    if group == THREAD:
        share = dynamodb.update(
            LOG, log_key(room_id, parent_ordinal), "ADD replies :step", values={":step": -1}
        )
        removals += [share, _count(_replies_key(room_id, parent_id, event.sender), -1)]
    if (key := annotation_key(event.content)) is not None:
        annotated = _annotation_key(room_id, parent_id, event.sender, event.type, key)
        removals.append(dynamodb.delete(ROOMS, annotated))
    return removals


# -- Reading ---------------------------------------------------------------------------------------------


def read_relations(
    room_id: RoomId,
    parent_id: str,
    group: str,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int | None = None,
    forward: bool = True,
) -> list[Relation]:
    """Return an event's relations of one group with `after` < ordinal < `before`, in one direction."""
    low = after + 1 if after is not None else -_ORDINAL_OFFSET
    high = before - 1 if before is not None else _ORDINAL_OFFSET
    if low > high:
        return []
    items = dynamodb.query(
        ROOMS,
        "room_id = :room AND sk BETWEEN :low AND :high",
        {
            ":room": room_id,
            ":low": _relation_sk(parent_id, group, low),
            ":high": _relation_sk(parent_id, group, high),
        },
        limit=limit,
        forward=forward,
    )
    return [_relation(item) for item in items]


def _relation(item: Item) -> Relation:
    return Relation(
        item["ordinal"],
        item["event_id"],
        item["event_type"],
        item["rel_type"],
        item["sender"],
        item["ts"],
        item.get("replaces", False),
        item.get("aside", False),
    )


def is_parent(room_id: RoomId, event_id: EventId) -> bool:
    """Return whether any event of the room relates to this one."""
    given = {":room": room_id, ":prefix": f"relation#{_escape(event_id)}#"}
    return bool(dynamodb.query(ROOMS, "room_id = :room AND begins_with(sk, :prefix)", given, limit=1))


def read_reply_counts(
    room_id: RoomId, threads: Sequence[str], users: Iterable[UserId]
) -> dict[tuple[str, str], int]:
    """Return how many events each of `users` sent to each thread, by (root, user), without zeros."""
    keys = {
        _replies_key(room_id, root_id, user_id)["sk"]: (root_id, user_id)
        for user_id in users
        for root_id in threads
    }
    if not keys:
        return {}
    items = dynamodb.batch_get({ROOMS: [{"room_id": room_id, "sk": sk} for sk in keys]})[ROOMS]
    return {keys[item["sk"]]: item["replies"] for item in items if item["replies"] > 0}


def read_threads(room_id: RoomId) -> list[Thread]:
    """Return the room's threads, the one with the newest event first."""
    items = dynamodb.query(
        ROOMS, "room_id = :room AND begins_with(sk, :prefix)", {":room": room_id, ":prefix": "thread#"}
    )
    threads = [Thread(item["root_id"], item["latest"]) for item in items]
    return sorted(threads, key=lambda thread: -thread.latest)


def read_annotation(room_id: RoomId, parent_id: str, sender: UserId, event_type: str, key: str) -> str | None:
    """Return the event with which a user annotated another one with this key; None if there is none."""
    item = dynamodb.get(ROOMS, _annotation_key(room_id, parent_id, sender, event_type, key))
    return str(item["event_id"]) if item else None
