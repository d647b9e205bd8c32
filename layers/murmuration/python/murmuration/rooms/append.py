"""Appending events to a room: built, authorised and written in one transaction.

An event gets its ordinal in the transaction that puts it, moves the head under a condition, and claims its
ID; so ordinals have no gaps, and whoever read up to the head has read everything. A writer that lost a race
reads the room again and makes its plan anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from murmuration.clock import now_ms
from murmuration.protocol import auth_rules, state_trie
from murmuration.protocol.building import build_event
from murmuration.protocol.errors import NotFound, Unavailable
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.hashing import reference_hash
from murmuration.protocol.room_versions import RoomVersion
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.room import Room, advance
from murmuration.rooms.stripped_state import stripped_state
from murmuration.rooms.succession import successor_of
from murmuration.server_keys import signing_key
from murmuration.settings import settings
from murmuration.storage import dynamodb, memberships, relations, room_items, snapshots
from murmuration.storage.dynamodb import TRANSACTION_LIMIT, ConditionFailed, Write
from murmuration.storage.memberships import Membership
from murmuration.storage.room_items import LogEntry, RoomHead, StateEntry
from murmuration.storage.streams import pause

T = TypeVar("T")
ATTEMPTS = 60
EXTREMITIES_LIMIT = 10
HISTORY_VISIBILITY = ("m.room.history_visibility", "")


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be: what its sender decides of it. `device_id` and `txn_id` are the sending client's."""

    type: str
    sender: str
    content: Mapping[str, Any]
    state_key: str | None = None
    redacts: str | None = None
    origin_server_ts: int | None = None
    device_id: str | None = None
    txn_id: str | None = None


@dataclass
class Append:
    """New events on top of a room, growing until they're committed together."""

    version: RoomVersion
    room: Room | None = None
    room_id: str = ""
    entries: list[LogEntry] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    """Further writes of the same transaction, such as claims."""
    companions: list[Append] = field(default_factory=list)
    """What is added to other rooms in the same transaction."""
    _state: dict[StateKey, StateEntry] = field(default_factory=dict)
    _memberships: dict[str, Write] = field(default_factory=dict)
    _nodes: dict[state_trie.NodeId, bytes] = field(default_factory=dict)
    _redactions: list[Write] = field(default_factory=list)
    _redacted_state: dict[StateKey, StateEntry] = field(default_factory=dict)
    _places: dict[str, int | None] = field(default_factory=dict)
    _root: state_trie.NodeId = state_trie.EMPTY
    _joined: int = 0
    _invited: int = 0

    def __post_init__(self) -> None:
        if self.room is not None:
            head = self.room.head
            self.room_id = head.room_id
            self._root, self._joined, self._invited = head.state_root, head.joined, head.invited

    def state(self, pairs: Iterable[StateKey]) -> dict[StateKey, Event]:
        """The state so far, with the events of this append."""
        wanted = list(pairs)
        known = self.room.events([pair for pair in wanted if pair not in self._state]) if self.room else {}
        return known | {pair: self._state[pair].event for pair in wanted if pair in self._state}

    def preload(self, pairs: Iterable[StateKey], *, changes_state: bool = True) -> None:
        """Read state that will be needed, and the snapshot's root when it will change, in one round trip."""
        wanted = list(pairs)
        calls: list[Callable[[], Any]] = [lambda: self.state(wanted)]
        if changes_state and self._root != state_trie.EMPTY:
            calls.append(lambda: self._fetch_nodes([self._root]))
        dynamodb.parallel(*calls)

    def add(self, draft: Draft) -> Event:
        """Build and authorise the next event. Raises Forbidden by the auth rules, TooLarge, BadJson."""
        pairs = auth_rules.auth_event_types(
            self.version, draft.type, draft.sender, draft.state_key, draft.content
        )
        wanted = [*pairs, HISTORY_VISIBILITY, ("m.room.create", "")]
        if draft.state_key is not None:
            wanted.append((draft.type, draft.state_key))
        self.preload(wanted, changes_state=draft.state_key is not None)
        state = self.state(wanted)
        auth_events = [state[pair] for pair in pairs if pair in state]
        prev_events, depth = self._position()
        event = build_event(
            room_version=self.version,
            type=draft.type,
            sender=draft.sender,
            content=dict(draft.content),
            state_key=draft.state_key,
            room_id=self.room_id or None,
            prev_events=prev_events,
            auth_events=[event.event_id for event in auth_events],
            depth=depth,
            origin_server_ts=draft.origin_server_ts if draft.origin_server_ts is not None else now_ms(),
            server_name=settings().server_name,
            signing_key=signing_key(),
            redacts=draft.redacts,
            **self._for_assigned_ids(prev_events, auth_events),
        )
        auth_rules.check_auth(event, state)
        self._take(event, draft, _visibility(state.get(HISTORY_VISIBILITY)))
        return event

    def _position(self) -> tuple[list[str], int]:
        if self.entries:
            last = self.entries[-1].event
            return [last.event_id], last.depth + 1
        if self.room is not None:
            return list(self.room.head.extremities[-EXTREMITIES_LIMIT:]), self.room.head.depth + 1
        return [], 1

    def _for_assigned_ids(self, prev_events: Sequence[str], auth_events: Sequence[Event]) -> dict[str, Any]:
        """What room versions 1 and 2 want besides: an event ID, and hashes of the events referred to."""
        if not self.version.server_assigned_event_ids:
            return {}
        at_hand = {
            event.event_id: event for event in (*auth_events, *(entry.event for entry in self.entries))
        }
        missing = [event_id for event_id in prev_events if event_id not in at_hand]
        at_hand |= room_items.read_events(missing, self.version)
        return {
            "event_id": f"${secrets.token_urlsafe(18)}:{settings().server_name}",
            "reference_hashes": {
                event_id: reference_hash(event.pdu, self.version) for event_id, event in at_hand.items()
            },
        }

    def _take(self, event: Event, draft: Draft, visibility: str) -> None:
        if not self.room_id:
            self.room_id = event.room_id
        ordinal = (self.room.head.ordinal if self.room else 0) + len(self.entries) + 1
        pair = event.state_pair
        previous = self.state([pair]).get(pair) if pair else None
        entry = LogEntry(
            ordinal=ordinal,
            event=event,
            state_root=self._root,
            visibility=visibility,
            device_id=draft.device_id,
            txn_id=draft.txn_id,
            replaced=(
                {"event_id": previous.event_id, "sender": previous.sender, "content": previous.content}
                if previous
                else None
            ),
        )
        self.entries.append(entry)
        if pair is not None:
            if event.membership is not None:
                self._record_membership(entry, previous.membership if previous else None)
            self._state[pair] = StateEntry(event, ordinal)
            self._root, nodes = state_trie.update(
                self.room_id, self._root, {pair: event.event_id}, self._fetch_nodes
            )
            self._nodes |= nodes

    def _fetch_nodes(self, node_ids: Iterable[state_trie.NodeId]) -> Mapping[state_trie.NodeId, bytes]:
        wanted = set(node_ids)
        fresh = {node_id: self._nodes[node_id] for node_id in wanted & self._nodes.keys()}
        stored = wanted - fresh.keys()
        return {**fresh, **(snapshots.fetch_from(self.room_id)(stored) if stored else {})}

    def _record_membership(self, entry: LogEntry, previous: str | None) -> None:
        event = entry.event
        membership = event.membership or "leave"
        self._joined += (membership == "join") - (previous == "join")
        self._invited += (membership == "invite") - (previous == "invite")
        user_id = event.state_key or ""
        if user_id.partition(":")[2] != settings().server_name:
            return
        self._memberships[user_id] = memberships.membership_write(
            Membership(
                user_id=user_id,
                room_id=self.room_id,
                membership=membership,
                event_id=event.event_id,
                sender=event.sender,
                ordinal=entry.ordinal,
                since=entry.ordinal,
                previous=previous,
                stripped_state=(
                    stripped_state(self.state, event) if membership in ("invite", "knock") else ()
                ),
            )
        )

    def redact(self, target: LogEntry, redaction: Event) -> None:
        """Let `redaction`, added before, take effect on `target`: only the redacted form is kept.

        A redacted state event stays current in its redacted form, and what replaced it tells no more of it.
        """
        if target.redacted_because is not None:
            return
        redacted = replace(
            target, event=target.event.redacted(), redacted_because=redaction.pdu, replaced=None
        )
        self._redactions.append(room_items.log_write(redacted))
        for parent_id in relations.parents_of([target]):
            ordinal = self.places([parent_id]).get(parent_id)
            self._redactions += relations.relation_removals(target, ordinal)
        successor = successor_of(self.room, target) if self.room else None
        if successor is not None and successor.replaced is not None:
            kept = {**successor.replaced, "content": redacted.event.content}
            self._redactions.append(room_items.log_write(replace(successor, replaced=kept)))
        pair = redacted.event.state_pair
        current = self.state([pair]).get(pair) if pair else None
        if pair and current and current.event_id == redacted.event.event_id:
            self._redacted_state[pair] = StateEntry(redacted.event, target.ordinal)

    def places(self, event_ids: Iterable[str]) -> dict[str, int]:
        """The ordinals of those events that are in the room's log; one read for what isn't known yet."""
        wanted = set(event_ids)
        if self.room is not None and (missing := wanted - self._places.keys()):
            found = room_items.locate(list(missing))
            here = {name: place for name, place in found.items() if place["room_id"] == self.room_id}
            self._places |= {
                name: here[name]["ordinal"] if "ordinal" in here.get(name, ()) else None for name in missing
            }
        return {name: place for name in wanted if (place := self._places.get(name)) is not None}

    def head(self) -> RoomHead:
        """Where the room's log will stand."""
        before = self.room.head if self.room else None
        last = self.entries[-1]
        return RoomHead(
            room_id=self.room_id,
            room_version=self.version.id,
            ordinal=last.ordinal,
            oldest=before.oldest if before else 1,
            extremities=(last.event.event_id,),
            depth=last.event.depth,
            state_root=self._root,
            state_version=(before.state_version if before else 0)
            + (1 if self._state or self._redacted_state else 0),
            joined=self._joined,
            invited=self._invited,
            seq=before.seq if before else 0,
        )

    def commit(self) -> Room:
        """Write it all, or nothing; the room afterwards.

        Raises ConditionFailed: with indexes into `writes` where one of those refuses, without where the room
        has moved on.
        """
        appends = [self, *self.companions]
        room_writes = [write for each in appends for write in each._room_writes()]
        nodes = [node for each in appends for node in snapshots.node_writes(each.room_id, each._nodes)]
        if len(self.writes) + len(room_writes) + len(nodes) > TRANSACTION_LIMIT:
            # Nodes are immutable: stored beforehand, they harm nobody if the transaction then fails.
            dynamodb.batch_write(nodes)
            nodes = []
        try:
            dynamodb.transact([*self.writes, *room_writes, *nodes])
        except ConditionFailed as error:
            refused = [index for index in error.failed if index < len(self.writes)]
            items = {index: item for index, item in error.items.items() if index in refused}
            raise ConditionFailed(refused, items) from error
        for each in appends:
            snapshots.remember(each.room_id, each._nodes)
        if self.room is not None:
            return advance(self.room, self.head(), self._state_changes())
        room = Room(self.head())
        room.remember(self._state_changes())
        return room

    def _room_writes(self) -> list[Write]:
        """The writes of this room, but for the nodes of its snapshots."""
        writes = [room_items.head_write(self.head(), self.room.head if self.room else None)]
        for entry in self.entries:
            whole = relations.with_children(entry, self.entries)
            writes += [room_items.log_write(whole), room_items.pointer_write(entry)]
        places = self.places(relations.parents_of(self.entries))
        writes += relations.relation_writes(self.entries, places)
        writes += [room_items.state_write(self.room_id, entry) for entry in self._state_changes()]
        return [*writes, *self._redactions, *self._memberships.values()]

    def _state_changes(self) -> list[StateEntry]:
        return list({**self._redacted_state, **self._state}.values())


def _visibility(event: Event | None) -> str:
    value = event.content.get("history_visibility") if event else None
    return value if value in ("world_readable", "shared", "invited", "joined") else "shared"


def append(room_id: str, plan: Callable[[Append], T], *, room: Room | None = None) -> T:
    """Carry out `plan` on the room as it is, again after each lost race; what `plan` returned.

    `room` spares the first reading of the head. A plan that adds no event writes nothing. Raises NotFound for
    an unknown room, ConditionFailed where a write that the plan added refuses, Unavailable when the room
    stays contended.
    """
    for attempt in range(ATTEMPTS):
        room = room or Room.load(room_id)
        batch = Append(room.version, room)
        result = plan(batch)
        if not batch.entries:
            return result
        try:
            batch.commit()
        except ConditionFailed as error:
            if error.failed:
                raise
            room = None
            pause(attempt)
            continue
        return result
    raise Unavailable("The room is too busy; try again")


def append_known(room_id: str, plan: Callable[[Append], T]) -> T:
    """`append` for one who must be in the room: an unknown room answers as one that they aren't in."""
    try:
        room = Room.load(room_id)
    except NotFound as error:
        raise unknown_room(room_id) from error
    return append(room_id, plan, room=room)
