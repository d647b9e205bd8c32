"""The small rooms in which remote users share presence with local users.

An item of the table `streams` for each remote user: `user:<user>`, `presence-rooms`, with the `rooms`, the
newest last. It is written when a local user comes online or joins. Of two concurrent writes one may be lost;
the next one adds it again. The item may be out of date, so its readers check the memberships.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from murmuration.aws import dynamodb
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.storage.live import streams

KEY = "presence-rooms"
MOST_ROOMS = 20
"""The maximum number of rooms that are recorded for a remote user."""

Rooms = Mapping[UserId, Collection[RoomId]]


def _key(user_id: UserId) -> dict[str, str]:
    return {"stream_id": streams.user_stream(user_id), "sk": KEY}


def read_rooms(user_ids: Collection[UserId]) -> dict[UserId, list[RoomId]]:
    """Return the recorded rooms of those users that have any. One round trip for a hundred."""
    if not user_ids:
        return {}
    found = dynamodb.batch_get({streams.TABLE: [_key(user_id) for user_id in sorted(set(user_ids))]})
    return {UserId(streams.owner_of(item)[1]): list(item["rooms"]) for item in found[streams.TABLE]}


def add_rooms(rooms: Rooms) -> None:
    """Add rooms to the remote users whose presence is seen there. Writes only what isn't stored yet."""
    known = read_rooms(list(rooms))
    for user_id, seen_in in rooms.items():
        before = known.get(user_id, [])
        if new := sorted(set(seen_in) - set(before)):
            item = {**_key(user_id), "rooms": [*before, *new][-MOST_ROOMS:]}
            dynamodb.execute(dynamodb.put(streams.TABLE, item))
