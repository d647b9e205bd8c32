"""The room directory: aliases, and the rooms published in the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, Write
from murmuration.storage import counts

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

TABLE = "directory"
ROOMS = "rooms"
PUBLISHED = "published"
MOST_ALIASES = 200
"""How many aliases a room may have. Those that an upgrade moves to it come in addition."""


def alias_key(alias: str) -> dict[str, str]:
    return {"pk": f"alias#{alias}", "sk": "alias"}


def read_alias(alias: str) -> Item | None:
    """Return the alias's item ({room_id, creator}); None if there is none."""
    return dynamodb.get(TABLE, alias_key(alias))


ALIAS = "alias"


def alias_writes(alias: str, room_id: RoomId, creator: str) -> list[Write]:
    """Return writes that point `alias` to a room.

    The write named ALIAS is refused if the alias is taken, the one named COUNT if the room has too many.
    """
    return [
        dynamodb.put(
            TABLE,
            {**alias_key(alias), "room_id": room_id, "creator": creator},
            condition="attribute_not_exists(pk)",
        ).named(ALIAS),
        dynamodb.put(ROOMS, {"room_id": room_id, "sk": f"alias#{alias}"}),
        counts.count_write(ROOMS, _counts_key(room_id), "aliases", MOST_ALIASES),
    ]


def _counts_key(room_id: RoomId) -> dict[str, str]:
    return {"room_id": room_id, "sk": counts.SK}


def alias_removal(alias: str, room_id: RoomId) -> list[Write]:
    """Return writes that remove `alias`. The first is refused if it doesn't point to this room any more."""
    return [
        dynamodb.delete(TABLE, alias_key(alias), condition="room_id = :room", values={":room": room_id}),
        dynamodb.delete(ROOMS, {"room_id": room_id, "sk": f"alias#{alias}"}),
        counts.uncount_write(ROOMS, _counts_key(room_id), "aliases"),
    ]


def alias_move(alias: str, old_id: str, new_id: str) -> list[Write]:
    """Return writes that point `alias` to another room. The first is refused if it doesn't point to `old_id`
    any more.
    """
    return [
        dynamodb.update(
            TABLE,
            alias_key(alias),
            "SET room_id = :new",
            values={":new": new_id, ":old": old_id},
            condition="room_id = :old",
        ),
        dynamodb.delete(ROOMS, {"room_id": old_id, "sk": f"alias#{alias}"}),
        dynamodb.put(ROOMS, {"room_id": new_id, "sk": f"alias#{alias}"}),
    ]


def read_room_aliases(room_id: RoomId) -> list[str]:
    """Return this server's aliases of a room, sorted."""
    items = dynamodb.query(
        ROOMS,
        "room_id = :room AND begins_with(sk, :prefix)",
        {":room": room_id, ":prefix": "alias#"},
    )
    return [item["sk"].removeprefix("alias#") for item in items]


def publish_write(room_id: RoomId) -> Write:
    """Return the write that lists the room in the directory."""
    return dynamodb.put(TABLE, {"pk": PUBLISHED, "sk": room_id})


def withdraw_write(room_id: RoomId) -> Write:
    return dynamodb.delete(TABLE, {"pk": PUBLISHED, "sk": room_id})


def is_published(room_id: RoomId) -> bool:
    return dynamodb.get(TABLE, {"pk": PUBLISHED, "sk": room_id}) is not None


def read_published() -> list[RoomId]:
    """Return the IDs of the published rooms."""
    return [item["sk"] for item in dynamodb.query(TABLE, "pk = :pk", {":pk": PUBLISHED})]
