"""Deletes everything that is stored for a room, part by part.

Each part is a generator that deletes the items that one read finds, and then yields the number of deleted
items, so its caller may stop in between. The items by which it finds others are deleted last. So it continues
where it was stopped, and may run twice or concurrently.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, Values, Write
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.settings import settings
from murmuration.storage.keys import remote_devices
from murmuration.storage.live import streams
from murmuration.storage.rooms import directory, event_places, snapshots
from murmuration.storage.rooms.event_places import EVENTS
from murmuration.storage.rooms.room_items import HEAD, LOG, ROOMS, state_prefix
from murmuration.storage.servers import parked_device_lists
from murmuration.storage.users.memberships import removal_write

Part = Callable[[RoomId], Iterator[int]]
"""A function that removes one part of the room with the given ID."""
KEPT, STATE = "kept#", "state#"
"""The prefixes of the sort keys of these items of a room."""
_NAMING = ("room_id", "sk", "event_id", "json")
"""The key of a room's item, and the attributes that name events."""
_AT_ONCE = 500


def _pages(table: str, condition: str, values: Values, attributes: Sequence[str]) -> Iterator[list[Item]]:
    for page in dynamodb.query_pages(table, condition, values, attributes=attributes):
        if page.items:
            yield page.items


def _room_items(room_id: RoomId, prefix: str) -> Iterator[list[Item]]:
    condition = "room_id = :room AND begins_with(sk, :prefix)"
    return _pages(ROOMS, condition, {":room": room_id, ":prefix": prefix}, _NAMING)


def _key(item: Item) -> Item:
    return {"room_id": item["room_id"], "sk": item["sk"]}


def _deletions(table: str, keys: Sequence[Item]) -> list[Write]:
    return [dynamodb.delete(table, key) for key in keys]


# -- The items by which others find the room ------------------------------------------------------------


def remove_names(room_id: RoomId) -> Iterator[int]:
    """Delete the room's aliases, and its place in the public list."""
    dynamodb.execute(directory.withdraw_write(room_id))
    for alias in directory.read_room_aliases(room_id):
        writes = directory.alias_removal(alias, room_id)
        try:
            dynamodb.transact(writes)
        except ConditionFailed:
            dynamodb.execute(writes[1])  # the alias belongs to another room by now
        yield 1


def remove_memberships(room_id: RoomId) -> Iterator[int]:
    """Delete the room's members, and local users' memberships, account data, tags and receipts for it.

    The device lists of remote members are checked again. They are deleted if their users share no room with a
    local user any more.
    """
    prefix, ours = state_prefix(MEMBER), f":{settings().server_name}"
    for items in _room_items(room_id, prefix):
        members = [item["sk"].removeprefix(prefix) for item in items]
        users = [user_id for user_id in members if user_id.endswith(ours)]
        _doubt_device_lists([user_id for user_id in members if not user_id.endswith(ours)])
        kept = concurrency.parallel(*(functools.partial(_kept_by, user_id, room_id) for user_id in users))
        writes = [removal_write(user_id, room_id) for user_id in users]
        writes += [write for some in kept for write in some]
        outliers = _remove_outliers(room_id, _of_state(items))
        dynamodb.batch_write(writes)
        dynamodb.batch_write(_deletions(ROOMS, [_key(item) for item in items]))
        yield len(writes) + len(items) + outliers


def _doubt_device_lists(user_ids: Sequence[UserId]) -> None:
    """Make the tracked device lists of these users be fetched again, or deleted if nobody needs them."""
    tracked = remote_devices.read_lists(user_ids) if settings().federation else ()
    concurrency.parallel(*(functools.partial(_doubt_device_list, user_id) for user_id in tracked))


def _doubt_device_list(user_id: UserId) -> None:
    if remote_devices.mark_stale(user_id):
        parked_device_lists.park(user_id)


def _kept_by(user_id: UserId, room_id: RoomId) -> list[Write]:
    """Return the writes that delete the room's items from a user's own stream."""
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


def _remove_outliers(room_id: RoomId, event_ids: Iterable[EventId]) -> int:
    """Delete those events that are outliers, and all outliers that authorise them. Returns how many.

    No item of the room names all outliers: they are found by the events that name them, before those are
    deleted. The outliers nearest the room's beginning are deleted first, so the rest is found again after an
    interruption.
    """
    depths: dict[EventId, int] = {}
    seen, wanted = set[EventId](), set(event_ids)
    while wanted:
        seen |= wanted
        found = {
            event_id: (json.loads(place["json"])["depth"], place)
            for event_id, place in event_places.locate(wanted, room_id).items()
            if place["room_id"] == room_id and "json" in place
        }
        depths |= {event_id: depth for event_id, (depth, place) in found.items() if "state_root" not in place}
        wanted = set(_authorising(place for _, place in found.values())) - seen
    ordered = sorted(depths, key=depths.__getitem__)
    for start in range(0, len(ordered), _AT_ONCE):
        dynamodb.batch_write(_deletions(EVENTS, _places(room_id, ordered[start : start + _AT_ONCE])))
    return len(ordered)


def _authorising(items: Iterable[Item]) -> Iterator[EventId]:
    """Yield the IDs of stored events' auth events. In the first room versions each has a hash beside it."""
    for item in items:
        for named in json.loads(item["json"])["auth_events"] if "json" in item else ():
            yield EventId(named if isinstance(named, str) else named[0])


def _of_state(items: Sequence[Item]) -> Iterator[EventId]:
    """Yield the IDs of the state events among a room's items, and those of the events that authorise them."""
    state = [item for item in items if item["sk"].startswith(STATE)]
    yield from (item["event_id"] for item in state)
    yield from _authorising(state)


def remove_log(room_id: RoomId) -> Iterator[int]:
    """Delete the room's log, the places of its events, and outliers that authorise them."""
    attributes = ("room_id", "ordinal", "event_id", "json")
    for items in _pages(LOG, "room_id = :room", {":room": room_id}, attributes):
        outliers = _remove_outliers(room_id, _authorising(items))
        dynamodb.batch_write(_deletions(EVENTS, _places(room_id, [item["event_id"] for item in items])))
        keys = [{"room_id": room_id, "ordinal": item["ordinal"]} for item in items]
        dynamodb.batch_write(_deletions(LOG, keys))
        yield 2 * len(items) + outliers


def remove_kept_events(room_id: RoomId) -> Iterator[int]:
    """Delete the events outside the log that have a place, and outliers that authorise them."""
    for items in _room_items(room_id, KEPT):
        event_ids = [item["sk"].removeprefix(KEPT) for item in items]
        outliers = _remove_outliers(room_id, event_ids)
        dynamodb.batch_write(_deletions(EVENTS, _places(room_id, event_ids)))
        dynamodb.batch_write(_deletions(ROOMS, [_key(item) for item in items]))
        yield 2 * len(items) + outliers


def _places(room_id: RoomId, event_ids: Sequence[EventId]) -> list[dict[str, str]]:
    """Return the keys of the items with the events' places, and with the rooms of events."""
    keys = event_places.place_keys(event_ids, room_id)
    if notes := [event_id for event_id in event_ids if event_places.room_note_writes(event_id, room_id)]:
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
    """Delete the items of the room's stream: receipts, typing and so on."""
    stream = streams.room_stream(room_id)
    for items in _pages(streams.TABLE, "stream_id = :stream", {":stream": stream}, ("stream_id", "sk")):
        dynamodb.batch_write(_deletions(streams.TABLE, items))
        yield len(items)


def remove_state(room_id: RoomId) -> Iterator[int]:
    """Delete the current state, relations, and all other items of the room except its head, and outliers."""
    for items in _pages(ROOMS, "room_id = :room", {":room": room_id}, _NAMING):
        if keys := [_key(item) for item in items if item["sk"] != HEAD]:
            outliers = _remove_outliers(room_id, _of_state(items))
            dynamodb.batch_write(_deletions(ROOMS, keys))
            yield len(keys) + outliers


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
