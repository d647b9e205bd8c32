"""A local user's memberships: one item for each room, so that one query of a sync reads all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, StoredItem, Write
from murmuration.aws.reads import Read, fetch, fetch_all
from murmuration.protocol.encoding.shapes import EventFields

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, UserId

TABLE = "users"
PREFIX = "membership#"
_OF_INVITES = (
    *("user_id", "sk", "membership", "event_id", "sender"),
    *("ordinal", "since", "previous", "changed_ms", "invited"),
)


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's membership in a room.

    `ordinal` is that of the membership event in the room's log; `since` is that of the event which began this
    membership (a profile change doesn't begin a new one). Both are None for an invite to a room that this
    server isn't in; then `room_version` and `via`, servers that may help to leave, are set. `previous` is the
    membership before. `stripped_state` belongs to invites and knocks. For a forgotten room only the leave
    event is kept, so that the user's other devices learn of it. `changed_ms` is when the membership began;
    None if unknown.
    """

    user_id: UserId
    room_id: RoomId
    membership: str
    event_id: EventId
    sender: UserId
    ordinal: int | None
    since: int | None
    previous: str | None = None
    stripped_state: Sequence[EventFields] = ()
    forgotten: bool = False
    room_version: str | None = None
    via: Sequence[str] = ()
    changed_ms: int | None = None

    @property
    def is_outside(self) -> bool:
        """Whether this server wasn't in the room, so that the membership has no event in its log."""
        return self.ordinal is None


def membership_key(user_id: UserId, room_id: RoomId) -> dict[str, str]:
    return {"user_id": user_id, "sk": PREFIX + room_id}


def from_item(item: StoredItem) -> Membership:
    return Membership(
        user_id=item["user_id"],
        room_id=item["sk"].removeprefix(PREFIX),
        membership=item["membership"],
        event_id=item["event_id"],
        sender=item["sender"],
        ordinal=item.get("ordinal"),
        since=item.get("since"),
        previous=item.get("previous"),
        stripped_state=json.loads(item.get("stripped_state", "[]")),
        forgotten=item.get("forgotten", False),
        room_version=item.get("room_version"),
        via=tuple(item.get("via", ())),
        changed_ms=item.get("changed_ms"),
    )


def membership_read(user_id: UserId, room_id: RoomId) -> Read[Membership | None]:
    """Return the read of a user's membership; its value is None if they have none, or forgot the room."""
    return Read(TABLE, membership_key(user_id, room_id), _unless_forgotten)


def _unless_forgotten(item: Item | None) -> Membership | None:
    return from_item(item) if item is not None and not item.get("forgotten") else None


def read_membership(user_id: UserId, room_id: RoomId) -> Membership | None:
    """Return the user's membership; None if they have none, or forgot the room."""
    return fetch(membership_read(user_id, room_id))


def read_kinds(user_id: UserId, room_ids: Sequence[RoomId]) -> dict[str, str]:
    """Return the user's memberships in these rooms, such as "join", by room ID. One round trip."""
    rows = fetch_all([membership_read(user_id, room_id) for room_id in room_ids])
    return {row.room_id: row.membership for row in rows if row is not None}


def read_row(user_id: UserId, room_id: RoomId) -> Membership | None:
    """Return the user's membership, even if they forgot the room; None if they have none."""
    return fetch(
        Read(TABLE, membership_key(user_id, room_id), lambda item: from_item(item) if item else None)
    )


def read_memberships(
    user_id: UserId, *, consistent: bool = True, forgotten: bool = False
) -> list[Membership]:
    """Return all of a user's memberships, without forgotten rooms unless `forgotten` is set."""
    items = dynamodb.query(
        TABLE,
        "user_id = :user AND begins_with(sk, :prefix)",
        {":user": user_id, ":prefix": PREFIX},
        consistent=consistent,
    )
    return [from_item(item) for item in items if forgotten or not item.get("forgotten")]


@dataclass(frozen=True, slots=True)
class Invites:
    """The number of open invites of a user, and the rows of invites that have ended without a join.

    Others have withdrawn them, or the user has turned them down, and may have forgotten the room. The rows
    have neither stripped state nor helping servers.
    """

    opened: int
    ended: Sequence[Membership]


def read_invites(user_id: UserId) -> Invites:
    """Return a user's invites as of a moment ago. One request for most users."""
    pages = dynamodb.query_pages(
        TABLE,
        "user_id = :user AND begins_with(sk, :prefix)",
        {":user": user_id, ":prefix": PREFIX, ":invite": "invite", ":join": "join"},
        filter_expression="membership = :invite OR (membership <> :join AND attribute_not_exists(stayed)"
        " AND (previous = :invite OR attribute_exists(invited)))",
        attributes=_OF_INVITES,
        consistent=False,
    )
    rows = [_with_invite(item) for page in pages for item in page.items]
    ended = [row for row in rows if row.membership in ("leave", "ban")]
    return Invites(sum(row.membership == "invite" for row in rows), ended)


def _with_invite(item: StoredItem) -> Membership:
    """Return the row; for a room that was forgotten after an invite with what it was before."""
    row = from_item(item)
    return replace(row, previous="invite", since=item["invited"] or None) if "invited" in item else row


def read_joined_rooms(user_id: UserId) -> list[RoomId]:
    """Return the rooms that a user is joined to."""
    return [found.room_id for found in read_memberships(user_id) if found.membership == "join"]


def membership_write(membership: Membership) -> Write:
    """Return the write of a membership. If only the profile changed, `since` and `previous` stay."""
    if membership.previous == membership.membership:
        values = {
            ":event_id": membership.event_id,
            ":sender": membership.sender,
            ":ordinal": membership.ordinal,
            ":membership": membership.membership,
        }
        change = "SET event_id = :event_id, sender = :sender, #ordinal = :ordinal, membership = :membership"
        if membership.stripped_state:
            change += ", stripped_state = :stripped_state"
            values[":stripped_state"] = _dump(membership.stripped_state)
        return dynamodb.update(
            TABLE,
            membership_key(membership.user_id, membership.room_id),
            change,
            names={"#ordinal": "ordinal"},
            values=values,
        )
    return dynamodb.put(TABLE, _item(membership))


def outside_write(membership: Membership, before: Membership | None) -> Write:
    """Return the write of a membership in a room that this server isn't in. It is refused if `before` has
    changed.
    """
    if before is None:
        return dynamodb.put(TABLE, _item(membership), condition="attribute_not_exists(user_id)")
    return dynamodb.put(
        TABLE, _item(membership), condition="event_id = :before", values={":before": before.event_id}
    )


def _item(membership: Membership) -> Item:
    item: Item = {
        **membership_key(membership.user_id, membership.room_id),
        "membership": membership.membership,
        "event_id": membership.event_id,
        "sender": membership.sender,
    }
    for name, value in (
        ("ordinal", membership.ordinal),
        ("since", membership.since),
        ("previous", membership.previous),
        ("room_version", membership.room_version),
        ("via", list(membership.via) or None),
        ("changed_ms", membership.changed_ms),
    ):
        if value is not None:
            item[name] = value
    if membership.stripped_state:
        item["stripped_state"] = _dump(membership.stripped_state)
    return item


def _dump(events: Sequence[EventFields]) -> str:
    return json.dumps(list(events), separators=(",", ":"), ensure_ascii=False)


def removal_write(user_id: UserId, room_id: RoomId) -> Write:
    """Return the write that deletes the user's membership in the room."""
    return dynamodb.delete(TABLE, membership_key(user_id, room_id))


def purge(row: Membership) -> None:
    """Delete a row, unless it has changed."""
    dynamodb.try_execute(
        dynamodb.delete(
            TABLE,
            membership_key(row.user_id, row.room_id),
            condition="event_id = :event_id",
            values={":event_id": row.event_id},
        )
    )


def note_stay(row: Membership) -> None:
    """Record that this row of an ended invite has to stay, unless it has changed.

    The user was in the room before the invite, for example. Such a row isn't among those of `read_invites`.
    """
    dynamodb.try_execute(
        dynamodb.update(
            TABLE,
            membership_key(row.user_id, row.room_id),
            "SET stayed = :yes",
            condition="event_id = :event_id",
            values={":event_id": row.event_id, ":yes": True},
        )
    )


def forget_write(membership: Membership) -> Write:
    """Return the write that forgets a room. It is refused if the membership changed meanwhile.

    After an invite the row tells since when it had ended (0 in a room that this server isn't in), because
    such rows are deleted some time later.
    """
    invited = membership.previous == "invite"
    return dynamodb.update(
        TABLE,
        membership_key(membership.user_id, membership.room_id),
        f"SET forgotten = :yes{', invited = :since' if invited else ''} REMOVE since, previous",
        condition="event_id = :event_id",
        values={
            ":event_id": membership.event_id,
            ":yes": True,
            **({":since": membership.since or 0} if invited else {}),
        },
    )
