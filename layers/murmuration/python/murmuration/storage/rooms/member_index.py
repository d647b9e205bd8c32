"""The member index of a room: the joined and invited users, and the number of members of each server.

It has two kinds of small items in the table `rooms`, written in the transaction that changes a membership:

- `present#<server>#<user ID>`: a user who is joined or invited (`membership`).
- `server#<server>`: how many users of another server are joined (`joined`). It stays when the last one left.

This server's own counts are in the room's head (`RoomHead.local_joined`, `local_invited`), and so is whether
another server was ever joined (`federated`): a room without other servers has no `server#` items to read.

A room that was created before there was an index has none of this, and no `local_joined` in its head. Then
`build` makes the index from the member events. Each of its transactions requires that the state is still the
same and that nobody else has finished, so an index is never built from two states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import TRANSACTION_LIMIT, Item, Write
from murmuration.aws.reads import Read, fetch_all
from murmuration.protocol.identifiers import RoomId, ServerName, UserId, is_user_of, server_of
from murmuration.settings import settings
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import ROOMS, RoomHead

_PRESENT, _SERVER = "present#", "server#"
JOIN, INVITE = "join", "invite"

MembershipChange = tuple[str | None, str | None]
"""A user's membership before and after; None if they have none."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of local users who are joined and invited, and whether another server was ever in
    the room.
    """

    local_joined: int
    local_invited: int
    federated: bool


def is_local(user_id: UserId) -> bool:
    """Return whether a user is local."""
    return server_of(user_id) == settings().server_name


def is_local_id(value: object) -> TypeGuard[UserId]:
    """Return whether a value of any type is a valid user ID of this server; the user needn't exist."""
    return is_user_of(value, settings().server_name)


def _present_sk(user_id: UserId) -> str:
    return f"{_PRESENT}{server_of(user_id)}#{user_id}"


def _present_key(room_id: RoomId, user_id: UserId) -> dict[str, str]:
    return {"room_id": room_id, "sk": _present_sk(user_id)}


def _server_key(room_id: RoomId, server: ServerName) -> dict[str, str]:
    return {"room_id": room_id, "sk": _SERVER + server}


# -- Writing ---------------------------------------------------------------------------------------------


def counts_after(before: Counts | None, changes: Mapping[UserId, MembershipChange]) -> Counts | None:
    """Return the local counts after `changes` (by user ID); None if the room's index isn't built."""
    if before is None:
        return None
    after = before
    for user_id, (was, now) in changes.items():
        if is_local(user_id):
            after = replace(
                after,
                local_joined=after.local_joined + (now == JOIN) - (was == JOIN),
                local_invited=after.local_invited + (now == INVITE) - (was == INVITE),
            )
        elif now == JOIN:
            after = replace(after, federated=True)
    return after


def writes(room_id: RoomId, changes: Mapping[UserId, MembershipChange]) -> list[Write]:
    """Return the writes that add changes of membership (by user ID) to the index.

    They add to the counts of servers, so execute them only once for each change.
    """
    joined: dict[ServerName, int] = {}
    result: list[Write] = []
    for user_id, (was, now) in changes.items():
        if was == now:
            continue
        if now in (JOIN, INVITE):
            result.append(_present_write(room_id, user_id, now))
        elif was in (JOIN, INVITE):
            result.append(dynamodb.delete(ROOMS, _present_key(room_id, user_id)))
        difference = (now == JOIN) - (was == JOIN)
        if difference and not is_local(user_id):
            server = server_of(user_id)
            joined[server] = joined.get(server, 0) + difference
    for server, difference in joined.items():
        if difference:
            result.append(
                dynamodb.update(
                    ROOMS,
                    _server_key(room_id, server),
                    "ADD joined :difference",
                    values={":difference": difference},
                )
            )
    return result


def _present_write(room_id: RoomId, user_id: UserId, membership: str | None) -> Write:
    return dynamodb.put(ROOMS, {**_present_key(room_id, user_id), "membership": membership})


def build(head: RoomHead) -> None:
    """Build the index of a room that has none, from its member events.

    Raises ConditionFailed if the room's state changed meanwhile or another caller was quicker.
    """
    room_id = head.room_id
    present = room_items.read_memberships_of(room_id)
    joined: dict[ServerName, int] = {}
    for user_id, membership in present.items():
        if membership == JOIN and not is_local(user_id):
            joined[server_of(user_id)] = joined.get(server_of(user_id), 0) + 1
    kept = {_present_sk(user_id) for user_id in present} | {_SERVER + server for server in joined}
    items: list[Write] = [_present_write(room_id, user_id, kind) for user_id, kind in present.items()]
    items += [
        dynamodb.put(ROOMS, {**_server_key(room_id, server), "joined": count})
        for server, count in joined.items()
    ]
    # Left behind by an attempt at an earlier state.
    items += [
        dynamodb.delete(ROOMS, {"room_id": room_id, "sk": item["sk"]})
        for prefix in (_PRESENT, _SERVER)
        for item in _query(room_id, prefix)
        if item["sk"] not in kept
    ]
    unchanged = room_items.unindexed_check(head)
    size = TRANSACTION_LIMIT - 1
    for start in range(0, len(items), size):
        dynamodb.transact([unchanged, *items[start : start + size]])
    local = [kind for user_id, kind in present.items() if is_local(user_id)]
    dynamodb.execute(
        room_items.indexed_write(
            head,
            local_joined=local.count(JOIN),
            local_invited=local.count(INVITE),
            federated=any(joined.values()),
        )
    )


# -- Reading ---------------------------------------------------------------------------------------------


def _query(room_id: RoomId, prefix: str, *, limit: int | None = None, consistent: bool = True) -> list[Item]:
    return dynamodb.query(
        ROOMS,
        "room_id = :room AND begins_with(sk, :prefix)",
        {":room": room_id, ":prefix": prefix},
        limit=limit,
        consistent=consistent,
    )


def read_local(
    head: RoomHead, *, memberships: Iterable[str] = (JOIN,), limit: int | None = None
) -> list[UserId]:
    """Return the local users with one of these memberships, sorted by user ID.

    `limit` is the number of items to read at most, so fewer users may be returned than there are.
    """
    wanted = frozenset(memberships)
    if not head.is_indexed:
        found = room_items.read_memberships_of(head.room_id)
        return [user_id for user_id, kind in found.items() if kind in wanted and is_local(user_id)]
    prefix = f"{_PRESENT}{settings().server_name}#"
    items = _query(head.room_id, prefix, limit=limit)
    return [item["sk"].removeprefix(prefix) for item in items if item["membership"] in wanted]


def read_present(
    head: RoomHead, *, memberships: Iterable[str] = (JOIN,), limit: int | None = None
) -> list[UserId]:
    """Return the users of all servers with one of these memberships, sorted by server and user ID.

    `limit` is the number of items to read at most, as in `read_local`.
    """
    wanted = frozenset(memberships)
    if not head.is_indexed:
        found = room_items.read_memberships_of(head.room_id)
        return [user_id for user_id, kind in found.items() if kind in wanted][:limit]
    items = _query(head.room_id, _PRESENT, limit=limit)
    return [item["sk"].split("#", 2)[2] for item in items if item["membership"] in wanted]


def read_of_server(head: RoomHead, server: ServerName, *, limit: int) -> list[UserId]:
    """Return up to `limit` users of a server who are joined or invited."""
    if not head.is_indexed:
        found = room_items.read_memberships_of(head.room_id)
        return [user_id for user_id in found if server_of(user_id) == server][:limit]
    items = _query(head.room_id, f"{_PRESENT}{server}#", limit=limit)
    return [item["sk"].split("#", 2)[2] for item in items]


def read_servers(head: RoomHead) -> dict[ServerName, int]:
    """Return how many users of each other server are joined, without servers that have none."""
    if not head.is_indexed:
        counts: dict[ServerName, int] = {}
        for user_id in read_present(head):
            if not is_local(user_id):
                counts[server_of(user_id)] = counts.get(server_of(user_id), 0) + 1
        return counts
    if not head.federated:
        return {}
    items = _query(head.room_id, _SERVER)
    return {item["sk"].removeprefix(_SERVER): item["joined"] for item in items if item["joined"] > 0}


def is_server_joined(head: RoomHead, server: ServerName) -> bool:
    """Return whether a server has a joined user: for this server from the head, for others by one read."""
    if not head.is_indexed:
        return any(server_of(user_id) == server for user_id in read_present(head))
    if server == settings().server_name:
        return bool(head.local_joined)
    if not head.federated:
        return False
    item = dynamodb.get(ROOMS, _server_key(head.room_id, server))
    return item is not None and item["joined"] > 0


def read_joined_among(room_ids: Iterable[RoomId], user_ids: Sequence[UserId]) -> set[UserId]:
    """Return those of the users who are joined to one of these rooms. One round trip.

    The rooms must have an index.
    """
    pairs = [(room_id, user_id) for room_id in room_ids for user_id in user_ids]
    reads = [Read(ROOMS, _present_key(room_id, user_id), _is_joined) for room_id, user_id in pairs]
    return {user_id for (_, user_id), joined in zip(pairs, fetch_all(reads), strict=True) if joined}


def rooms_joined_by(user_id: UserId, room_ids: Iterable[RoomId]) -> list[RoomId]:
    """Return those of the rooms that a user is joined to. One round trip for a hundred.

    Rooms without an index are left out.
    """
    rooms = list(room_ids)
    found = fetch_all([Read(ROOMS, _present_key(room_id, user_id), _is_joined) for room_id in rooms])
    return [room_id for room_id, joined in zip(rooms, found, strict=True) if joined]


def rooms_joined_by_server(server: ServerName, room_ids: Sequence[RoomId]) -> list[RoomId]:
    """Return those of the rooms in which another server has a joined user.

    Rooms without an index are left out.
    """
    reads = [Read(ROOMS, _server_key(room_id, server), _has_joined) for room_id in room_ids]
    return [room_id for room_id, joined in zip(room_ids, fetch_all(reads), strict=True) if joined]


def _has_joined(item: Item | None) -> bool:
    return item is not None and int(item["joined"]) > 0


def _is_joined(item: Item | None) -> bool:
    return item is not None and item["membership"] == JOIN
