"""Deleting everything that is stored of a room, part by part.

Each part is a generator that deletes what one read finds and then yields the number of deleted items, so its
caller may stop in between. The items by which it finds others are deleted last. So it goes on where it was
stopped, and may run twice or concurrently.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, Values, Write
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.settings import settings
from murmuration.storage.live import streams
from murmuration.storage.rooms import directory, room_items, snapshots
from murmuration.storage.rooms.room_items import EVENTS, HEAD, LOG, ROOMS, state_prefix
from murmuration.storage.users.memberships import removal_write

Part = Callable[[RoomId], Iterator[int]]
"""Removes one part of the room with the given ID."""


def _pages(table: str, condition: str, values: Values, attributes: Sequence[str]) -> Iterator[list[Item]]:
    after = None
    while True:
        page = dynamodb.query_page(table, condition, values, after=after, attributes=attributes)
        if page.items:
            yield page.items
        after = page.more
        if after is None:
            return


def _room_items(room_id: RoomId, prefix: str) -> Iterator[list[Item]]:
    condition = "room_id = :room AND begins_with(sk, :prefix)"
    return _pages(ROOMS, condition, {":room": room_id, ":prefix": prefix}, ("room_id", "sk"))


def _deletions(table: str, keys: Sequence[Item]) -> list[Write]:
    return [dynamodb.delete(table, key) for key in keys]


# -- What others find the room by ------------------------------------------------------------------------


def remove_names(room_id: RoomId) -> Iterator[int]:
    """Delete the room's aliases, and its place in the public list."""
    dynamodb.execute(directory.withdraw_write(room_id))
    for alias in directory.read_room_aliases(room_id):
        writes = directory.alias_removal(alias, room_id)
        try:
            dynamodb.transact(writes)
        except ConditionFailed:
            dynamodb.execute(writes[1])  # by now the alias is another room's
        yield 1


def remove_memberships(room_id: RoomId) -> Iterator[int]:
    """Delete the room's members, and local users' memberships, account data, tags and receipts for it."""
    prefix, ours = state_prefix(MEMBER), f":{settings().server_name}"
    for items in _room_items(room_id, prefix):
        users = [user_id for item in items if (user_id := item["sk"].removeprefix(prefix)).endswith(ours)]
        kept = concurrency.parallel(*(functools.partial(_kept_by, user_id, room_id) for user_id in users))
        writes = [removal_write(user_id, room_id) for user_id in users]
        writes += [write for some in kept for write in some]
        dynamodb.batch_write(writes)
        dynamodb.batch_write(_deletions(ROOMS, items))
        yield len(writes) + len(items)


def _kept_by(user_id: UserId, room_id: RoomId) -> list[Write]:
    """Delete what a user's own stream has of the room."""
    stream = streams.user_stream(user_id)
    condition = "stream_id = :stream AND begins_with(sk, :prefix)"
    return [
        dynamodb.delete(streams.TABLE, {"stream_id": stream, "sk": item["sk"]})
        for prefix in (f"data#{room_id}#", f"receipt#{room_id}#")
        for item in dynamodb.query(
            streams.TABLE, condition, {":stream": stream, ":prefix": prefix}, attributes=("sk", "room_id")
        )
        if item.get("room_id") == room_id
    ]


# -- Its events and its state ----------------------------------------------------------------------------


def remove_log(room_id: RoomId) -> Iterator[int]:
    """Delete the room's log, and the places of its events."""
    for items in _pages(LOG, "room_id = :room", {":room": room_id}, ("room_id", "ordinal", "event_id")):
        dynamodb.batch_write(_deletions(EVENTS, _places(room_id, [item["event_id"] for item in items])))
        keys = [{"room_id": room_id, "ordinal": item["ordinal"]} for item in items]
        dynamodb.batch_write(_deletions(LOG, keys))
        yield 2 * len(items)


def remove_kept_events(room_id: RoomId) -> Iterator[int]:
    """Delete the events outside the log, except outliers: no item of the room names those."""
    for items in _room_items(room_id, "kept#"):
        event_ids = [item["sk"].removeprefix("kept#") for item in items]
        dynamodb.batch_write(_deletions(EVENTS, _places(room_id, event_ids)))
        dynamodb.batch_write(_deletions(ROOMS, items))
        yield 2 * len(items)


def _places(room_id: RoomId, event_ids: Sequence[EventId]) -> list[dict[str, str]]:
    """Return the keys of the items with the events' places, and with the rooms of events."""
    keys = room_items.place_keys(event_ids, room_id)
    if notes := [event_id for event_id in event_ids if room_items.room_note_writes(event_id, room_id)]:
        found = dynamodb.batch_get({EVENTS: [{"event_id": event_id} for event_id in notes]})[EVENTS]
        keys += [{"event_id": item["event_id"]} for item in found if item["room_id"] == room_id]
    return keys


def remove_snapshots(room_id: RoomId) -> Iterator[int]:
    """Delete the snapshots of the room's state, and its marks of stray nodes."""
    for items in _pages(
        snapshots.TABLE, "room_id = :room", {":room": room_id}, attributes=("room_id", "node_id")
    ):
        dynamodb.batch_write(_deletions(snapshots.TABLE, items))
        yield len(items)
    for stray in snapshots.read_strays():
        if stray.room_id == room_id:
            with suppress(ConditionFailed):
                dynamodb.execute(snapshots.stray_removal(stray))
            yield 1


def remove_stream(room_id: RoomId) -> Iterator[int]:
    """Delete the items of the room's stream: receipts, typing and the like."""
    stream = streams.room_stream(room_id)
    for items in _pages(streams.TABLE, "stream_id = :stream", {":stream": stream}, ("stream_id", "sk")):
        dynamodb.batch_write(_deletions(streams.TABLE, items))
        yield len(items)


def remove_state(room_id: RoomId) -> Iterator[int]:
    """Delete the current state, relations, and all other items of the room except its head."""
    for items in _pages(ROOMS, "room_id = :room", {":room": room_id}, ("room_id", "sk")):
        if keys := [item for item in items if item["sk"] != HEAD]:
            dynamodb.batch_write(_deletions(ROOMS, keys))
            yield len(keys)


PARTS: Sequence[Part] = (
    remove_names,
    remove_memberships,
    remove_log,
    remove_kept_events,
    remove_snapshots,
    remove_stream,
    remove_state,
)
"""All parts, ordered so that none deletes what a later one needs."""
