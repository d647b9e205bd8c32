"""The items of a room: its head, log and current state.

`docs/storage.md` describes the layouts; only this module builds and parses these items. `room_heads` has the
head, `event_places` the places of events.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from murmuration.aws import concurrency, dynamodb, packing
from murmuration.aws.dynamodb import Item, Key, StoredItem, Values, Write
from murmuration.aws.reads import Read, fetch_all
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.room_versions import RoomVersion
from murmuration.protocol.state_trie import NodeId
from murmuration.settings import settings
from murmuration.storage.rooms.room_heads import (
    HEAD,
    ROOMS,
    RoomHead,
    head_among,
    head_from_item,
    head_key,
    head_read,
    head_write,
    indexed_write,
    read_head,
    read_heads,
    settled_write,
    settling_write,
    unindexed_check,
)

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import EventFields
    from murmuration.protocol.identifiers import DeviceId, EventId, RoomId, UserId
    from murmuration.storage.json_types import ReplacedState

    EventIds = Collection[EventId]
    Versions = Mapping[RoomId, RoomVersion]

__all__ = [
    "HEAD",
    "ROOMS",
    "RoomHead",
    "head_among",
    "head_from_item",
    "head_key",
    "head_read",
    "head_write",
    "indexed_write",
    "read_head",
    "read_heads",
    "settled_write",
    "settling_write",
    "unindexed_check",
]  # The names of `room_heads` are exported here too.
LOG = "room-log"
MAX_SORT_KEY_BYTES = 1024
_ORDINAL_OFFSET = 10**15
DUMMY_EVENT = "org.matrix.dummy_event"
"""The type of events that only merge forks: clients don't see them."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An event of a room's log, with the log's facts about it.

    `state_root` is the state before the event, by the events that it follows; `room_root` is the room's state
    when the event arrived, if that differs. `resolved`: the event changed more of the state than its own
    entry. `withheld`: clients don't see it. `device_id` and `txn_id` are the sending client's; `delay_id` is
    set if it was a delayed event. `redacted_because` is the redaction's PDU. `groups` are the kinds of events
    that relate to it, `replies` is their number in its thread (`storage.rooms.relations`). `after_gap`: an
    event that it follows was missing. `filled_below`: it was added later in a gap, below the event with this
    ordinal. `relayed`: this server sends the event of another server's user to other servers; `distributed`:
    another server does so with this server's. `purged`: only its place is left. `stored_length` is how many
    characters of JSON were read, 0 if it wasn't read.
    """

    ordinal: int
    event: Event
    state_root: NodeId
    visibility: str
    device_id: DeviceId | None = None
    txn_id: str | None = None
    delay_id: str | None = None
    replaced: ReplacedState | None = None
    redacted_because: EventFields | None = None
    groups: frozenset[str] = frozenset()
    replies: int = 0
    room_root: NodeId | None = None
    resolved: bool = False
    withheld: bool = False
    after_gap: bool = False
    filled_below: int | None = None
    relayed: bool = False
    distributed: bool = False
    purged: bool = False
    stored_length: int = field(default=0, compare=False)

    @property
    def is_past(self) -> bool:
        """Whether the event was added later as an old one: clients never get it as new."""
        return self.filled_below is not None

    @property
    def is_aside(self) -> bool:
        """Whether the state before the event differs from the room's state at its place in the log."""
        return self.room_root is not None or self.is_past

    @property
    def room_id(self) -> RoomId:
        return self.event.room_id

    @property
    def current_root(self) -> NodeId:
        """The snapshot of the room's state when the event arrived."""
        return self.state_root if self.room_root is None else self.room_root


@dataclass(frozen=True, slots=True)
class StateEntry:
    """A current state event, and the ordinal since which it is current.

    That is the event's own ordinal, unless it became current when forks were resolved. `stored_bytes` is its
    JSON's length.
    """

    event: Event
    ordinal: int | None = field(default=None)
    stored_bytes: int = field(default=0, compare=False)


# -- Keys ------------------------------------------------------------------------------------------------
def state_sk(pair: StateKey) -> str:
    """Return the sort key `state#<type>#<state key>`, with `#` in the type escaped to keep pairs apart."""
    event_type, state_key = pair
    return f"{state_prefix(event_type)}{state_key}"


def state_prefix(event_type: str) -> str:
    """Return the prefix of the sort keys of all state of one type."""
    return f"state#{event_type.replace('~', '~0').replace('#', '~1')}#"


def state_item_key(room_id: RoomId, pair: StateKey) -> dict[str, str]:
    return {"room_id": room_id, "sk": state_sk(pair)}


def log_key(room_id: RoomId, ordinal: int) -> Key:
    return {"room_id": room_id, "ordinal": ordinal}


def log_entry_from_item(item: StoredItem, version: RoomVersion) -> LogEntry:
    text, replaced, because = item["json"], item.get("replaced"), item.get("redacted_because")
    return LogEntry(
        ordinal=item["ordinal"],
        event=Event.from_json(text, version, item["event_id"]),
        state_root=item["state_root"],
        visibility=item["visibility"],
        device_id=item.get("device_id"),
        txn_id=item.get("txn_id"),
        delay_id=item.get("delay_id"),
        replaced=json.loads(replaced) if replaced else None,
        redacted_because=json.loads(because) if because else None,
        groups=item.get("groups", frozenset()),
        replies=item.get("replies", 0),
        room_root=item.get("room_root"),
        resolved=item.get("resolved", False),
        withheld=item.get("withheld", False),
        after_gap=item.get("after_gap", False),
        filled_below=item.get("filled_below"),
        relayed=item.get("relayed", False),
        distributed=item.get("distributed", False),
        purged=item.get("purged", False),
        stored_length=len(text) + len(replaced or "") + len(because or ""),
    )


def state_read(room_id: RoomId, pair: StateKey, version: RoomVersion) -> Read[StateEntry | None]:
    """Return the read of a current state event; its value is None if the room has no such state."""
    return Read(
        ROOMS,
        state_item_key(room_id, pair),
        lambda item: state_entry_from_item(item, version) if item is not None else None,
    )


def read_rooms_with_state(room_ids: Sequence[RoomId], pair: StateKey) -> set[RoomId]:
    """Return those of the rooms that have state of this type and state key. One round trip."""
    reads = [Read(ROOMS, state_item_key(room_id, pair), bool) for room_id in room_ids]
    return {room_id for room_id, is_there in zip(room_ids, fetch_all(reads), strict=True) if is_there}


def stored_state_read(room_id: RoomId, pair: StateKey) -> Read[Callable[[RoomVersion], StateEntry] | None]:
    """Return the read of a current state event; its value is a function of the room's version."""
    return Read(
        ROOMS,
        state_item_key(room_id, pair),
        lambda item: functools.partial(state_entry_from_item, item) if item is not None else None,
    )


def state_entry_from_item(item: StoredItem, version: RoomVersion) -> StateEntry:
    text = item["json"]
    return StateEntry(Event.from_json(text, version, item["event_id"]), item.get("ordinal"), len(text))


# -- Building writes -------------------------------------------------------------------------------------


def log_write(entry: LogEntry, *, condition: str | None = None, values: Item | None = None) -> Write:
    """Return the write that adds an entry to the log, if `condition` holds."""
    item: Item = {
        "room_id": entry.room_id,
        "ordinal": entry.ordinal,
        "event_id": entry.event.event_id,
        "json": packing.pack(entry.event.to_json(), as_before=settings().stored_forms == "before"),
        "state_root": entry.state_root,
        "visibility": entry.visibility,
    }
    for name, value in (
        ("device_id", entry.device_id),
        ("txn_id", entry.txn_id),
        ("delay_id", entry.delay_id),
        ("replaced", _dump(entry.replaced)),
        ("redacted_because", _dump(entry.redacted_because)),
        # The users whom the Streams worker wakes in addition to the members.
        ("member", entry.event.state_key if entry.event.membership is not None else None),
        ("groups", entry.groups or None),
        ("replies", entry.replies or None),
        ("room_root", entry.room_root),
        ("resolved", entry.resolved or None),
        ("withheld", entry.withheld or None),
        ("after_gap", entry.after_gap or None),
        ("filled_below", entry.filled_below),
        ("relayed", entry.relayed or None),
        ("distributed", entry.distributed or None),
        ("purged", entry.purged or None),
    ):
        if value is not None:
            item[name] = value
    return dynamodb.put(LOG, item, condition=condition, values=values)


def _dump(value: object) -> str | None:
    return None if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def state_write(room_id: RoomId, entry: StateEntry) -> Write:
    """Return the write that makes a state event current."""
    event = entry.event
    key = state_item_key(room_id, (event.type, event.state_key or ""))
    item: Item = {**key, "event_id": event.event_id, "json": event.to_json()}
    if entry.ordinal is not None:
        item["ordinal"] = entry.ordinal
    if event.membership is not None:
        item["membership"] = event.membership
    return dynamodb.put(ROOMS, item)


def state_removal(room_id: RoomId, pair: StateKey) -> Write:
    return dynamodb.delete(ROOMS, state_item_key(room_id, pair))


# -- Reading ---------------------------------------------------------------------------------------------
def read_state_entries(
    room_id: RoomId, version: RoomVersion, pairs: Sequence[StateKey]
) -> dict[StateKey, StateEntry]:
    """Return the current state events with these (type, state key) pairs that exist."""
    if not pairs:
        return {}
    keys = [state_item_key(room_id, pair) for pair in pairs]
    # No item has a longer key: a client asked for a state event that can't exist.
    keys = [key for key in keys if len(key["sk"].encode()) <= MAX_SORT_KEY_BYTES]
    items = dynamodb.batch_get({ROOMS: keys})[ROOMS] if keys else []
    entries = [state_entry_from_item(item, version) for item in items]
    return {pair: entry for entry in entries if (pair := entry.event.state_pair) is not None}


def read_state_of_type(
    room_id: RoomId, version: RoomVersion, event_type: str | None = None, *, limit: int | None = None
) -> list[StateEntry]:
    """Return the current state, all or of one type, sorted by state key; at most `limit` events."""
    items = dynamodb.query(
        ROOMS,
        "room_id = :room AND begins_with(sk, :prefix)",
        {":room": room_id, ":prefix": state_prefix(event_type) if event_type is not None else "state#"},
        limit=limit,
    )
    return [state_entry_from_item(item, version) for item in items]


def read_memberships_of(room_id: RoomId) -> dict[UserId, str]:
    """Return the membership of everyone who is joined or invited, by user ID. Reads every member event.

    Use it only for a room without a member index.
    """
    prefix = state_prefix(MEMBER)
    items = dynamodb.query(
        ROOMS,
        "room_id = :room AND begins_with(sk, :prefix)",
        {":room": room_id, ":prefix": prefix},
        attributes=("sk", "membership"),
    )
    return {
        item["sk"].removeprefix(prefix): item["membership"]
        for item in items
        if item.get("membership") in ("join", "invite")
    }


def read_state_but_members(room_id: RoomId, version: RoomVersion) -> list[StateEntry]:
    """Return the current state without membership events, which are most of a large room's state."""
    members = state_prefix(MEMBER)
    # "$" is the character after "#", which ends the prefix.
    ranges = [("state#", members), (f"{members[:-1]}$", "state$")]
    pages = concurrency.parallel(*(functools.partial(_state_between, room_id, *bounds) for bounds in ranges))
    return [state_entry_from_item(item, version) for items in pages for item in items]


def read_state_bytes(room_id: RoomId, version: RoomVersion) -> int:
    """Return the size of the current state without membership events, for the head's `state_bytes`."""
    return sum(len(entry.event.to_json()) for entry in read_state_but_members(room_id, version))


def _state_between(room_id: RoomId, low: str, high: str) -> list[Item]:
    return dynamodb.query(
        ROOMS,
        "room_id = :room AND sk BETWEEN :low AND :high",
        {":room": room_id, ":low": low, ":high": high},
    )


def read_log(
    room_id: RoomId,
    version: RoomVersion,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int | None = None,
    forward: bool = True,
) -> list[LogEntry]:
    """Return at most `limit` entries with `after` < ordinal < `before`, in one direction."""
    arguments = log_range(room_id, after, before)
    if arguments is None:
        return []
    items = dynamodb.query(LOG, *arguments, names={"#ordinal": "ordinal"}, limit=limit, forward=forward)
    return [log_entry_from_item(item, version) for item in items]


def read_log_page(
    room_id: RoomId,
    version: RoomVersion,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int,
    forward: bool = True,
) -> list[LogEntry]:
    """Return what `read_log` returns, in one request of at most 1 MB, so possibly fewer entries."""
    arguments = log_range(room_id, after, before)
    if arguments is None:
        return []
    page = dynamodb.query_page(LOG, *arguments, names={"#ordinal": "ordinal"}, limit=limit, forward=forward)
    return [log_entry_from_item(item, version) for item in page.items]


def log_range(room_id: RoomId, after: int | None, before: int | None) -> tuple[str, Values] | None:
    """Return the key condition for a range of a room's log, and its values; None for an empty range."""
    low = after + 1 if after is not None else -_ORDINAL_OFFSET
    high = before - 1 if before is not None else _ORDINAL_OFFSET
    if low > high:
        return None
    values: Values = {":room": room_id, ":low": low, ":high": high}
    return "room_id = :room AND #ordinal BETWEEN :low AND :high", values


def read_next(room_id: RoomId, version: RoomVersion, after: int) -> LogEntry | None:
    """Return the first entry after an ordinal that arrived as a new one, and wasn't added later in a gap."""
    found = read_log(room_id, version, after=after, limit=1)
    below = found[0].filled_below if found else None
    if below is None:
        return found[0] if found else None
    return next(iter(read_log_entries([(room_id, below)], {room_id: version})), None)


def read_previous_ordinal(room_id: RoomId, before: int) -> int | None:
    """Return the greatest ordinal of the log below `before`; None at the log's beginning."""
    arguments = log_range(room_id, None, before)
    if arguments is None:
        return None
    page = dynamodb.query_page(LOG, *arguments, names={"#ordinal": "ordinal"}, limit=1, forward=False)
    return next((item["ordinal"] for item in page.items), None)


def read_log_roots(room_id: RoomId) -> set[NodeId]:
    """Return the snapshots that the entries of a room's log refer to. Reads the whole log."""
    roots: set[NodeId] = set()
    wanted = ("state_root", "room_root")
    for page in dynamodb.query_pages(LOG, "room_id = :room", {":room": room_id}, attributes=wanted):
        roots.update(root for item in page.items for root in item.values())
    return roots


def read_log_entries(keys: Sequence[tuple[RoomId, int]], versions: Versions) -> list[LogEntry]:
    """Return the existing log entries at these (room ID, ordinal) keys, in no particular order."""
    if not keys:
        return []
    items = dynamodb.batch_get({LOG: [log_key(room_id, ordinal) for room_id, ordinal in keys]})[LOG]
    return [log_entry_from_item(item, versions[item["room_id"]]) for item in items]
