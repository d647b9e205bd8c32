"""A room's head: the newest positions in its log, state and stream, and the counts of its members.

It is one item of the table `rooms`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, StoredItem, Write
from murmuration.aws.reads import Read, fetch, fetch_all
from murmuration.protocol.event_types import CALL_INVITE, CREATE, ENCRYPTED, MESSAGE
from murmuration.protocol.room_versions import RoomVersion, get_room_version
from murmuration.protocol.state_trie import NodeId

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId

ROOMS, HEAD = "rooms", "head"
BUMPS = frozenset(
    {
        CREATE,
        MESSAGE,
        ENCRYPTED,
        "m.sticker",
        CALL_INVITE,
        "m.poll.start",
        "org.matrix.msc3381.poll.start",
        "m.beacon_info",
        "org.matrix.msc3672.beacon_info",
    }
)
"""The types of events that move a room up in clients' lists."""


@dataclass(frozen=True, slots=True)
class RoomHead:
    """The newest positions in a room's log, state and stream, and its counts.

    `ordinal` is that of the newest event, `oldest` that of the oldest (0 and below: old events that were
    added before the beginning). `state_version` counts the changes of the current state; `depth` is the
    greatest of the extremities'. `seq` is the newest number in the room's stream (`storage.live.streams`),
    which moves independently. While `unsettled` is set, the items of the current state are being moved from
    that snapshot to `state_root` (`rooms.writing.settling`), and `settled_count` of the changes between the
    two are done. `joined` and `invited` count the members of all servers, `local_joined` and `local_invited`
    this server's: they are None while the room's member index isn't built (`storage.rooms.member_index`).
    `federated` says that another server had a joined user at some time. `fills` counts how often old events
    were added. `state_bytes` is the size of the current state without membership events; None if it was never
    counted. `erasures` is the number of erased users of the room, which is counted independently. `active_ms`
    is when the newest event arrived, `bumped_ms` when the newest event arrived that moves a room up in
    clients' lists (`BUMPS`): None for rooms for which that was never recorded.
    """

    room_id: RoomId
    room_version: str
    ordinal: int
    oldest: int
    extremities: tuple[EventId, ...]
    depth: int
    state_root: NodeId
    state_version: int
    joined: int
    invited: int
    seq: int = 0
    unsettled: NodeId | None = None
    settled_count: int | None = None
    local_joined: int | None = None
    local_invited: int | None = None
    federated: bool = False
    fills: int | None = None
    state_bytes: int | None = None
    erasures: int = 0
    active_ms: int | None = None
    bumped_ms: int | None = None

    @property
    def version(self) -> RoomVersion:
        return get_room_version(self.room_version)

    @property
    def is_indexed(self) -> bool:
        """Whether the room's member index is built."""
        return self.local_joined is not None

    @property
    def is_empty(self) -> bool:
        """Whether no local user is joined or invited."""
        if self.local_joined is None:
            return self.joined == 0 and self.invited == 0
        return self.local_joined == 0 and not self.local_invited

    @property
    def is_resident(self) -> bool:
        """Whether a local user is joined.

        Otherwise other servers don't send the room's events, and this server's data about the room becomes
        outdated.
        """
        return (self.joined if self.local_joined is None else self.local_joined) > 0

    @property
    def is_stale(self) -> bool:
        """Whether the room may have continued without this server, because users of other servers were joined
        once.
        """
        return self.federated and not self.is_resident


def head_key(room_id: RoomId) -> dict[str, str]:
    return {"room_id": room_id, "sk": HEAD}


def head_from_item(item: StoredItem) -> RoomHead:
    return RoomHead(
        room_id=item["room_id"],
        room_version=item["room_version"],
        ordinal=item["ordinal"],
        oldest=item["oldest"],
        extremities=tuple(item["extremities"]),
        depth=item["depth"],
        state_root=item["state_root"],
        state_version=item["state_version"],
        joined=item["joined"],
        invited=item["invited"],
        seq=item.get("seq_head", 0),
        unsettled=item.get("unsettled"),
        settled_count=item.get("settled_count"),
        local_joined=item.get("local_joined"),
        local_invited=item.get("local_invited"),
        federated=item.get("federated", False),
        fills=item.get("fills"),
        state_bytes=item.get("state_bytes"),
        erasures=int(item.get("erasures", 0)),
        active_ms=item.get("active_ms"),
        bumped_ms=item.get("bumped_ms"),
    )


def head_among(items: Iterable[Item]) -> RoomHead | None:
    """Return the head in an item that was read at its key; None for an unknown room."""
    return next((head_from_item(item) for item in items if "ordinal" in item), None)


def head_write(head: RoomHead, previous: RoomHead | None) -> Write:
    """Return the write that moves the head from `previous` (None: a new room).

    It is refused if another writer has moved it.
    """
    fields = {
        name: value
        for name, value in asdict(head).items()
        if name not in ("room_id", "seq", "erasures") and value is not None
    }
    names = {f"#{name}": name for name in fields}
    values = {
        f":{name}": list(value) if isinstance(value, tuple) else value for name, value in fields.items()
    }
    condition = "attribute_not_exists(#ordinal) AND attribute_not_exists(buried_ms)"
    if previous is not None:
        condition = "#ordinal = :o AND #oldest = :b AND #state_version = :s"
        values |= {":o": previous.ordinal, ":b": previous.oldest, ":s": previous.state_version}
        if previous.fills is None:
            condition += " AND attribute_not_exists(fills)"
        else:
            condition += " AND fills = :f"
            values[":f"] = previous.fills
    assignments = ", ".join(f"#{name} = :{name}" for name in fields)
    return dynamodb.update(
        ROOMS, head_key(head.room_id), f"SET {assignments}", names=names, values=values, condition=condition
    )


_UNSETTLED = "state_version = :version AND unsettled = :before"


def settling_write(head: RoomHead, done: int, next_done: int) -> Write:
    """Return the write that counts settled changes of the current state, if `done` were counted before."""
    condition = f"{_UNSETTLED} AND settled_count = :done"
    if done == 0:
        condition = f"{_UNSETTLED} AND (attribute_not_exists(settled_count) OR settled_count = :done)"
    return dynamodb.update(
        ROOMS,
        head_key(head.room_id),
        "SET settled_count = :next",
        values={
            ":version": head.state_version,
            ":before": head.unsettled,
            ":done": done,
            ":next": next_done,
        },
        condition=condition,
    )


def settled_write(head: RoomHead) -> Write:
    """Return the write that records that all items of the current state are written (see
    `RoomHead.unsettled`).

    It increases the state's version, because reads in between saw old and new items mixed.
    """
    return dynamodb.update(
        ROOMS,
        head_key(head.room_id),
        "SET state_version = :next REMOVE unsettled, settled_count",
        values={
            ":version": head.state_version,
            ":before": head.unsettled,
            ":next": head.state_version + 1,
        },
        condition=_UNSETTLED,
    )


_UNINDEXED = "state_version = :version AND attribute_exists(#ordinal) AND attribute_not_exists(local_joined)"


def unindexed_check(head: RoomHead) -> Write:
    """Return the check that the room's state is that of `head`, and that it has no member index."""
    return dynamodb.check(
        ROOMS,
        head_key(head.room_id),
        _UNINDEXED,
        values={":version": head.state_version},
        names={"#ordinal": "ordinal"},
    )


def indexed_write(head: RoomHead, *, local_joined: int, local_invited: int, federated: bool) -> Write:
    """Return the write that records that the member index is built, if the state is still that of `head`."""
    return dynamodb.update(
        ROOMS,
        head_key(head.room_id),
        "SET local_joined = :joined, local_invited = :invited, federated = :federated",
        values={
            ":version": head.state_version,
            ":joined": local_joined,
            ":invited": local_invited,
            ":federated": federated,
        },
        names={"#ordinal": "ordinal"},
        condition=_UNINDEXED,
    )


def head_read(room_id: RoomId, *, eventual: bool = False) -> Read[RoomHead | None]:
    """Return the read of a room's head; its value is None for a room that is unknown or being deleted."""
    return Read(ROOMS, head_key(room_id), lambda item: head_among([item] if item else []), eventual)


def read_heads(room_ids: Iterable[RoomId], *, eventual: bool = False) -> dict[RoomId, RoomHead]:
    """Return the heads of the known ones of these rooms, by room ID, in the given order. One round trip."""
    heads = fetch_all([head_read(room_id, eventual=eventual) for room_id in dict.fromkeys(room_ids)])
    return {head.room_id: head for head in heads if head is not None}


def read_head(room_id: RoomId) -> RoomHead | None:
    """Return the room's head; None for an unknown room."""
    return fetch(head_read(room_id))


def scan_heads() -> Iterator[RoomHead]:
    """Yield every room's head, in no order. Reads the whole table."""
    items = dynamodb.scan(
        ROOMS, FilterExpression="sk = :head", ExpressionAttributeValues={":head": {"S": HEAD}}
    )
    for item in items:
        if (head := head_among([item])) is not None:
            yield head
