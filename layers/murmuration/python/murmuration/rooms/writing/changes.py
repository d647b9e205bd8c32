"""Changes: everything that new events change in a room, written in one transaction.

That transaction gives an event its ordinal, moves the head under a condition, and claims the event's ID. So a
reader who has read up to the head has read all new events. `Append` adds events of this server,
`federation.inbound.receiving` those of other servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import TRANSACTION_LIMIT, ConditionFailed, Write
from murmuration.clock import now_ms
from murmuration.protocol import state_trie
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.protocol.room_versions import RoomVersion
from murmuration.protocol.state_trie import NodeId
from murmuration.protocol.visibility import visibility_of
from murmuration.rooms.room import Room, advance
from murmuration.rooms.writing.gaps import GAP, GAPS_UNTIL
from murmuration.rooms.writing.settling import settle
from murmuration.rooms.writing.state_changes import membership_row, row_write, state_item_write
from murmuration.rooms.writing.succession import successor_of
from murmuration.storage.rooms import (
    empty_rooms,
    event_places,
    event_store,
    member_index,
    relations,
    room_items,
    snapshots,
)
from murmuration.storage.rooms.room_heads import BUMPS
from murmuration.storage.rooms.room_items import LogEntry, RoomHead, StateEntry
from murmuration.storage.rooms.snapshots import Stray
from murmuration.storage.users.memberships import Membership

if TYPE_CHECKING:
    from murmuration.storage.json_types import ReplacedState

Differences = Mapping[StateKey, tuple[Event | None, Event | None]]
"""State events that are replaced: for each (type, state key) the one before and the one after."""
STATE_AT_ONCE = 25
"""How many state events' items the transaction that moves the head changes; the others are changed
afterwards."""


def replaced_by(previous: Event | None) -> ReplacedState | None:
    """Return what a log entry stores about the state event that its event replaced (`LogEntry.replaced`)."""
    if previous is None:
        return None
    return {"event_id": previous.event_id, "sender": previous.sender, "content": previous.content}


def state_bytes(event: Event | None) -> int:
    """Return how many bytes a state event adds to a room's `state_bytes`."""
    return len(event.to_json()) if event is not None else 0


def visibility_by(event: Event | None) -> str:
    """Return the history visibility that an m.room.history_visibility event sets; the default for None."""
    return visibility_of(event.content if event is not None else None)


def store_nodes_first(room_id: RoomId, root: NodeId, nodes: Mapping[NodeId, bytes]) -> Write:
    """Store the nodes that don't fit into the transaction, and return a write for the transaction.

    Nodes never change, so stray ones do no harm. If nothing refers to them in the end, they are deleted
    later.
    """
    stray = Stray(room_id, root, now_ms())
    dynamodb.execute(snapshots.stray_write(stray))
    dynamodb.batch_write(snapshots.node_writes(room_id, nodes))
    return snapshots.stray_removal(stray)


@dataclass
class Changes:
    """New events of one room, collected until they are committed together."""

    version: RoomVersion
    room: Room | None = None
    room_id: RoomId = RoomId("")  # noqa: RUF009 - it costs nothing, and makes nothing
    entries: list[LogEntry] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    """Further writes in the same transaction, such as claims."""
    companions: Sequence[Changes] = field(default_factory=list)
    """What the same transaction adds to other rooms."""
    _state: dict[StateKey, StateEntry | None] = field(default_factory=dict)
    _memberships: dict[UserId, Membership | None] = field(default_factory=dict)
    _moves: dict[UserId, member_index.MembershipChange] = field(default_factory=dict)
    _nodes: dict[NodeId, bytes] = field(default_factory=dict)
    _older: list[LogEntry] = field(default_factory=list)
    _others: list[Write] = field(default_factory=list)
    _redacted_state: dict[StateKey, StateEntry] = field(default_factory=dict)
    _places: dict[str, int | None] = field(default_factory=dict)
    _followed: set[str] = field(default_factory=set)
    _root: NodeId = state_trie.EMPTY
    _joined: int = 0
    _invited: int = 0
    _state_bytes: int | None = 0
    _state_follows: bool = False
    _skipped: int = 0
    _extremities_gone: frozenset[str] = frozenset()
    _now_ms: int = field(default_factory=now_ms)
    _promoted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.room is not None:
            head = self.room.head
            self.room_id = head.room_id
            self._root, self._joined, self._invited = head.state_root, head.joined, head.invited
            self._state_bytes = head.state_bytes

    @property
    def root(self) -> NodeId:
        """The snapshot of the state after the events added so far."""
        return self._root

    @property
    def next_ordinal(self) -> int:
        return (self.room.head.ordinal if self.room else 0) + self._skipped + len(self.entries) + 1

    def leave_gap(self) -> None:
        """Leave a gap in the log before the next event, for missing events that it follows."""
        if self.room is not None and self.room.head.ordinal < GAPS_UNTIL:
            self._skipped = GAP

    def state(self, pairs: Iterable[StateKey]) -> dict[StateKey, Event]:
        """Return the state events with these pairs after the events added so far."""
        return {pair: entry.event for pair, entry in self._state_entries(pairs).items()}

    def _state_entries(self, pairs: Iterable[StateKey]) -> dict[StateKey, StateEntry]:
        wanted = list(pairs)
        known = self.room.entries([pair for pair in wanted if pair not in self._state]) if self.room else {}
        return known | {pair: entry for pair in wanted if (entry := self._state.get(pair)) is not None}

    def preload(self, pairs: Iterable[StateKey], *, changes_state: bool = True) -> None:
        """Read the state that will be needed, and the snapshot's root if the state changes, in one round
        trip.
        """
        wanted = list(pairs)
        calls: list[Callable[[], Any]] = [lambda: self.state(wanted)]
        if changes_state and self._root != state_trie.EMPTY:
            calls.append(lambda: self._fetch_nodes([self._root]))
        concurrency.parallel(*calls)

    # -- Adding events -----------------------------------------------------------------------------------

    def take(self, entry: LogEntry) -> None:
        """Add an event on top of the state so far."""
        if not self.room_id:
            self.room_id = entry.room_id
        self.entries.append(entry)
        pair, event = entry.event.state_pair, entry.event
        if pair is not None:
            previous = self.state([pair]).get(pair)
            self._set_state(pair, previous, event, entry.ordinal)
            self._root, nodes = state_trie.update(
                self.room_id, self._root, {pair: event.event_id}, self._fetch_nodes
            )
            self._nodes |= nodes

    def merge(
        self, entry: LogEntry, root: NodeId, nodes: Mapping[NodeId, bytes], differences: Differences
    ) -> None:
        """Add an event after which the room has the state `root`, because forks were resolved."""
        self.entries.append(entry)
        for pair, (before, after) in differences.items():
            self._set_state(pair, before, after, entry.ordinal)
        self._root = root
        self._nodes |= nodes
        self._state_follows = len(differences) > STATE_AT_ONCE

    def precede(self, entry: LogEntry, nodes: Mapping[NodeId, bytes]) -> None:
        """Add an old event, which doesn't change any later state."""
        self._older.append(entry)
        self._nodes |= nodes

    def retire(self, event_ids: Iterable[EventId]) -> None:
        """Remove these events from the forward extremities: an event that filled a gap follows them.

        Use it only if that doesn't change the room's state.
        """
        self._extremities_gone = self._extremities_gone.union(event_ids)

    def promote(self, event_id: EventId) -> None:
        """Give a soft-failed event its place in the log, if it is still stored outside the log."""
        self._promoted.add(event_id)
        self._others.append(event_store.kept_removal(self.room_id, event_id))

    def also(self, *writes: Write) -> None:
        """Add a write to the transaction. If it is refused, the room counts as moved."""
        self._others += writes

    def follow(self, event_ids: Iterable[EventId]) -> None:
        """Remove these events from the forward extremities, because a new event follows them."""
        self._followed.update(event_ids)

    def _set_state(self, pair: StateKey, before: Event | None, after: Event | None, ordinal: int) -> None:
        self._state[pair] = StateEntry(after, ordinal) if after is not None else None
        if pair[0] != MEMBER:
            self._count_bytes(before, after)
            return
        was = before.membership or "leave" if before is not None else None
        now = after.membership or "leave" if after is not None else None
        user_id = UserId(pair[1])
        self._moves[user_id] = (self._moves.get(user_id, (was, None))[0], now)
        self._joined += (now == "join") - (was == "join")
        self._invited += (now == "invite") - (was == "invite")
        if not member_index.is_local(user_id):
            return
        row = membership_row(user_id, after, was, ordinal, self.state) if after is not None else None
        earlier = self._memberships.get(user_id)
        if row is not None and earlier is not None and earlier.membership == row.membership:
            row = replace(row, since=earlier.since, previous=earlier.previous)
        self._memberships[user_id] = row

    def _count_bytes(self, before: Event | None, after: Event | None) -> None:
        if self._state_bytes is not None:
            self._state_bytes += state_bytes(after) - state_bytes(before)

    def _fetch_nodes(self, node_ids: Iterable[NodeId]) -> Mapping[NodeId, bytes]:
        wanted = set(node_ids)
        fresh = {node_id: self._nodes[node_id] for node_id in wanted & self._nodes.keys()}
        stored = wanted - fresh.keys()
        return {**fresh, **(snapshots.fetch_from(self.room_id)(stored) if stored else {})}

    # -- Redacting ---------------------------------------------------------------------------------------

    def redact(self, target: LogEntry, redaction: Event) -> None:
        """Apply `redaction`, which was added before, to `target`: only the redacted form is kept.

        A redacted state event stays current in its redacted form. The event that replaced it keeps no copy of
        its content.
        """
        if target.redacted_because is not None:
            return
        redacted = replace(
            target, event=target.event.redacted(), redacted_because=redaction.pdu, replaced=None
        )
        self._others.append(room_items.log_write(redacted))
        for parent_id in relations.parents_of([target]):
            ordinal = self.places([parent_id]).get(parent_id)
            self._others += relations.relation_removals(target, ordinal)
        successor = successor_of(self.room, target) if self.room else None
        if successor is not None and successor.replaced is not None:
            kept: ReplacedState = {**successor.replaced, "content": redacted.event.content}
            self._others.append(room_items.log_write(replace(successor, replaced=kept)))
        self.redact_state(redacted.event)

    def redact_state(self, redacted: Event) -> None:
        """Store the event's redacted form in the current state too, if it is there."""
        pair = redacted.state_pair
        current = self._state_entries([pair]).get(pair) if pair else None
        if pair and current and current.event.event_id == redacted.event_id:
            if pair[0] != MEMBER and pair not in self._redacted_state:
                self._count_bytes(current.event, redacted)
            self._redacted_state[pair] = StateEntry(redacted, current.ordinal)

    def places(self, event_ids: Iterable[EventId]) -> dict[str, int]:
        """Return the ordinals of those events that are in the room's log. One read for those that aren't
        cached.
        """
        wanted = set(event_ids)
        if self.room is not None and (missing := wanted - self._places.keys()):
            found = event_store.read_ordinals(missing, self.room_id)
            self._places |= {event_id: found.get(event_id) for event_id in missing}
        return {name: place for name in wanted if (place := self._places.get(name)) is not None}

    # -- Writing -----------------------------------------------------------------------------------------

    def head(self) -> RoomHead:
        """Return the room's head after these changes."""
        before = self.room.head if self.room else None
        counts = member_index.counts_after(_counts(before), self._moves)
        return RoomHead(
            room_id=self.room_id,
            room_version=self.version.id,
            ordinal=self.next_ordinal - 1,
            oldest=min([entry.ordinal for entry in self._older] + [before.oldest if before else 1]),
            extremities=self._extremities(),
            depth=max([entry.event.depth for entry in self.entries] + ([before.depth] if before else [])),
            state_root=self._root,
            state_version=(before.state_version if before else 0)
            + (1 if self._state or self._redacted_state else 0),
            joined=self._joined,
            invited=self._invited,
            seq=before.seq if before else 0,
            erasures=before.erasures if before else 0,
            unsettled=self._root_before() if self._state_follows else None,
            state_bytes=self._state_bytes,
            local_joined=counts.local_joined if counts else None,
            local_invited=counts.local_invited if counts else None,
            federated=counts.federated if counts else False,
            fills=(before.fills or 0) + 1 if before and self._older else before.fills if before else None,
            active_ms=self._latest(before.active_ms if before else None, lambda _: True),
            bumped_ms=self._latest(
                before.bumped_ms if before else None, lambda entry: entry.event.type in BUMPS
            ),
        )

    def _latest(self, before: int | None, counts: Callable[[LogEntry], bool]) -> int | None:
        """Return the current time if a new event counts as activity, else `before`. The result is never
        earlier than `before`.
        """
        is_moved = any(counts(entry) and not entry.withheld for entry in self.entries)
        return max(before or 0, self._now_ms) if is_moved else before

    def _root_before(self) -> NodeId:
        return self.room.head.state_root if self.room else state_trie.EMPTY

    def _extremities(self) -> tuple[EventId, ...]:
        """Return the forward extremities after the changes, in the order in which they arrived."""
        followed = self._followed.union(
            self._extremities_gone, *(entry.event.prev_events for entry in self.entries)
        )
        before = self.room.head.extremities if self.room else ()
        candidates = [*before, *(entry.event.event_id for entry in self.entries)]
        return tuple(event_id for event_id in candidates if event_id not in followed)

    def commit(self) -> Room:
        """Write everything or nothing, and return the room afterwards.

        Raises ConditionFailed: with the names of the refused `writes`, or without names if the room has
        moved.
        """
        parts = [self, *self.companions]
        room_writes = [write for each in parts for write in each._room_writes()]
        node_writes = [write for each in parts for write in each._node_writes()]
        if len(self.writes) + len(room_writes) + len(node_writes) > TRANSACTION_LIMIT:
            node_writes = [store_nodes_first(each.room_id, each.root, each._nodes) for each in parts]
        try:
            dynamodb.transact([*self._further_writes(), *room_writes, *node_writes], patient=False)
        except ConditionFailed as error:
            raise error.named() from error
        for each in parts:
            snapshots.remember(each.room_id, each._nodes)
        if self.room is not None:
            return settle(advance(self.room, self.head(), self._state_changes()))
        room = Room(self.head())
        room.remember(self._state_changes())
        return room

    def _further_writes(self) -> list[Write]:
        return [write if write.name else write.named("further") for write in self.writes]

    def _node_writes(self) -> list[Write]:
        return snapshots.node_writes(self.room_id, self._nodes)

    def _room_writes(self) -> list[Write]:
        """Return the writes for this room, without those for its snapshots' nodes."""
        before, after = self.room.head if self.room else None, self.head()
        writes = [room_items.head_write(after, before)]
        if after.is_empty and not (before is not None and before.is_empty):
            writes.append(empty_rooms.mark_write(self.room_id, now_ms()))
        added = [*self._older, *self.entries]
        for entry in added:
            whole = relations.with_children(entry, added)
            promoted = entry.event.event_id in self._promoted
            writes += [room_items.log_write(whole), *event_places.pointer_writes(entry, promoted=promoted)]
        writes += relations.relation_writes(added, self.places(relations.parents_of(added)))
        writes += self._others
        if self._state_follows:
            return writes
        items = self._state_changes().items()
        writes += [state_item_write(self.room_id, pair, entry) for pair, entry in items]
        rows = self._memberships.items()
        writes += [row_write(self.room_id, user_id, row) for user_id, row in rows]
        return [*writes, *(member_index.writes(self.room_id, self._moves) if after.is_indexed else ())]

    def _state_changes(self) -> dict[StateKey, StateEntry | None]:
        return {**self._redacted_state, **self._state}


def _counts(head: RoomHead | None) -> member_index.Counts | None:
    """Return the head's counts of local members; None if the room's member index isn't built."""
    if head is None:
        return member_index.Counts(0, 0, federated=False)
    if head.local_joined is None:
        return None
    return member_index.Counts(head.local_joined, head.local_invited or 0, head.federated)
