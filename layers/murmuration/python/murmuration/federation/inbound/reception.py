"""The reception of one event: what the checks ask about the room, and what becomes of the event in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import TRANSACTION_LIMIT
from murmuration.federation.inbound.auth_chains import authorising_ids, bring_in, valid_events
from murmuration.federation.inbound.elsewhere import Elsewhere, MissingEvents
from murmuration.federation.inbound.forks import Forks
from murmuration.federation.inbound.graph import ancestors_first
from murmuration.protocol import state_trie
from murmuration.protocol.auth_rules import auth_state_types_of
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.pdus.keys import KeyRing
from murmuration.protocol.pdus.validation import (
    Judgement,
    Outcome,
    PolicyServer,
    keys_to_look_up,
    policy_server_of,
)
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms.room import Room
from murmuration.rooms.writing.changes import (
    HISTORY_VISIBILITY,
    Changes,
    replaced_by,
    store_nodes_first,
    visibility_by,
)
from murmuration.rooms.writing.redactions import REDACTION_STATE, takes_effect
from murmuration.rooms.writing.settling import settle
from murmuration.storage.rooms import event_store, room_items, snapshots
from murmuration.storage.rooms.event_store import Awaited, Kind, StoredEvent
from murmuration.storage.rooms.room_items import EVENTS, ROOMS, LogEntry

ATTEMPTS = 60
_MEMBER = "m.room.member"
_POLICY = ("m.room.policy", "")
_WALK_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an event, and why if it wasn't accepted."""

    event_id: str
    kind: Kind
    reason: str = ""


class Reception:
    """The receiving of one event, and what is known for it: the facts of the checks on receipt."""

    def __init__(
        self,
        room: Room,
        event: Event,
        elsewhere: Elsewhere,
        receive_earlier: Callable[[Event], object] | None = None,
    ) -> None:
        """`receive_earlier` receives an event that came before; without it none is asked for."""
        self.room = room
        self.event_id = event.event_id
        self.elsewhere = elsewhere
        self.receive_earlier = receive_earlier
        self.forks = Forks(room.room_id, room.version)
        self._event = event
        self.awaited = Awaited()
        self._root: NodeId | None = None
        self._gaps: list[str] = []

    def look_up(self) -> StoredEvent | None:
        """The event, if it has its place already. Reads along what it refers to: two round trips."""
        event, room_id = self._event, self.room.room_id
        wanted = {self.event_id, *event.prev_events, *authorising_ids(event), *filter(None, [event.redacts])}
        found = dynamodb.batch_get(
            {
                EVENTS: [{"event_id": event_id} for event_id in wanted],
                ROOMS: event_store.awaited_keys(room_id, self.event_id),
            }
        )
        self.awaited = event_store.awaited_from(found[ROOMS])
        places = {item["event_id"]: item for item in found[EVENTS]}
        self.forks.learn(event_store.complete(places, self.room.version))
        known = self.forks.known(self.event_id)
        return known if known is not None and known.is_placed else None

    # -- The facts ---------------------------------------------------------------------------------------

    def keys(self, event: Event) -> KeyRing:
        return self.elsewhere.keys(keys_to_look_up(event))

    def auth_events(self, event: Event) -> tuple[Mapping[str, Event], Collection[str]]:
        wanted = authorising_ids(event)
        found = self.forks.stored(wanted)
        if len(found) < len(set(wanted)):
            # What authorises it is most likely among what came before it.
            self._receive_events_before(event)
            found = self.forks.stored(wanted)
        if len(found) < len(set(wanted)):
            bring_in(self.forks, self.elsewhere.auth_chain(event), self.elsewhere)
            found = self.forks.stored(wanted)
        if missing := set(wanted) - found.keys():
            raise MissingEvents(missing)
        rejected = [event_id for event_id, stored in found.items() if stored.kind == "rejected"]
        return {event_id: stored.event for event_id, stored in found.items()}, rejected

    def state_before(self, event: Event) -> Mapping[StateKey, Event]:
        return self.state_at(self.root_before(event), _state_about(event))

    def current_state(self, event: Event) -> Mapping[StateKey, Event]:
        pairs = [*_state_about(event), _POLICY]
        if not self._gaps:
            return self.room.events(pairs)
        # What happened in the gap had no chance to become current: else who joined there would not be heard.
        root = self.forks.resolve([self.room.head.state_root, self.root_before(event)])
        return self.forks.state(root, pairs)

    def policy_server(self, event: Event) -> PolicyServer | None:
        server = policy_server_of(self.room.event(*_POLICY))
        if server is None:
            return None
        members = room_items.read_state_of_type(event.room_id, self.room.version, _MEMBER)
        joined = (entry.event for entry in members if entry.event.membership == "join")
        present = any((member.state_key or "").partition(":")[2] == server.server_name for member in joined)
        return server if present else None

    def state_at(self, root: NodeId, pairs: Iterable[StateKey]) -> Mapping[StateKey, Event]:
        return self.room.events(pairs) if root == self.room.head.state_root else self.forks.state(root, pairs)

    # -- The event's place in the graph ------------------------------------------------------------------

    def root_before(self, event: Event) -> NodeId:
        """The snapshot of the state before the event."""
        if self._root is None:
            self._root = self._find_root(event)
        return self._root

    def _find_root(self, event: Event) -> NodeId:
        self._receive_events_before(event)
        missing = self._missing(event)
        previous = [self.forks.known(event_id) for event_id in event.prev_events if event_id not in missing]
        if not missing and set(event.prev_events) == set(self.room.head.extremities):
            return self.room.head.state_root
        roots = [self.forks.after(stored) for stored in previous if stored is not None]
        if missing:
            roots.append(self._ask_state_before(event, missing))
        return self.forks.resolve(roots)

    def _missing(self, event: Event) -> list[str]:
        """The events before this one whose own place isn't known."""
        known = self.forks.stored(event.prev_events)
        here = {
            event_id
            for event_id, stored in known.items()
            if stored.is_placed and stored.room_id == self.room.room_id
        }
        return [event_id for event_id in event.prev_events if event_id not in here]

    def _receive_events_before(self, event: Event) -> None:
        """Have the events between what is known and this one received first, as far as they can be had."""
        receive_earlier, self.receive_earlier = self.receive_earlier, None
        if receive_earlier is None or not self._missing(event):
            return
        room_id = self.room.room_id
        pdus = self.elsewhere.events_between(event, self.room.head.extremities)
        events = valid_events(self.forks, pdus)
        events.pop(self.event_id, None)
        for earlier in ancestors_first(events, lambda it: it.prev_events):
            try:
                receive_earlier(earlier)
            except (MatrixError, MissingEvents):
                continue
        self.room = settle(Room.load(room_id))
        self.forks = Forks(room_id, self.room.version)

    def _ask_state_before(self, event: Event, missing: Collection[str]) -> NodeId:
        """The state before the event as another server has it: as far as its events are valid."""
        told = self.elsewhere.state_before(event)
        if told is None:
            raise MissingEvents(missing)
        bring_in(self.forks, [*told.auth_chain, *told.state], self.elsewhere)
        events = self.forks.stored(valid_events(self.forks, told.state))
        self._gaps = list(missing)
        return self.forks.build(
            {
                pair: event_id
                for event_id, stored in events.items()
                if stored.kind != "rejected" and (pair := stored.event.state_pair) is not None
            }
        )

    # -- What becomes of it ------------------------------------------------------------------------------

    def conclude(self, judgement: Judgement) -> Received:
        """Write what the checks came to. Raises ConditionFailed where another writer was quicker."""
        event = judgement.event
        reason = judgement.reason.message if judgement.reason is not None else ""
        if judgement.outcome is Outcome.ACCEPTED:
            self._accept(event, self.root_before(event))
            return Received(self.event_id, "accepted")
        kind: Kind = "rejected" if judgement.outcome is Outcome.REJECTED else "soft_failed"
        if self._redaction_of(event) is not None:
            event = event.redacted()
        # For a rejected event nobody is asked about those before it, so its place may stay unknown.
        root = None if self._root is None and self._missing(event) else self.root_before(event)
        if root is not None or self.forks.known(self.event_id) is None:
            self.keep(StoredEvent(event, self.room.room_id, kind, root, reason=reason))
        return Received(self.event_id, kind, reason)

    def keep(self, stored: StoredEvent) -> None:
        """Keep an event outside the log."""
        root = stored.state_root or state_trie.EMPTY
        nodes = self.forks.unstored([root])
        writes = [*event_store.keep_writes(stored), *self.forks.resolution_writes([root])]
        node_writes = snapshots.node_writes(self.room.room_id, nodes)
        if len(writes) + len(node_writes) > TRANSACTION_LIMIT:
            node_writes = [store_nodes_first(self.room.room_id, root, nodes)]
        dynamodb.transact([*writes, *node_writes])
        snapshots.remember(self.room.room_id, nodes)

    def _accept(self, event: Event, root: NodeId) -> None:
        changes = Changes(self.room.version, self.room)
        followed = self._followed(event)
        changes.follow([*followed, self.event_id] if self.awaited.is_followed else followed)
        entry = self.make_entry(changes, event, changes.next_ordinal)
        current = self.room.head.state_root
        self._put_on_top(changes, replace(entry, room_root=current if root != current else None), followed)
        changes.commit()

    def make_entry(self, changes: Changes, event: Event, ordinal: int) -> LogEntry:
        """The log entry of the event, which is accepted; with all that goes beside it added to `changes`."""
        root = self.root_before(event)
        before = self.state_at(root, _state_about(event))
        entry = LogEntry(ordinal, event, root, visibility_by(before.get(HISTORY_VISIBILITY)))
        if root == self.room.head.state_root and event.state_pair is not None:
            entry = replace(entry, replaced=replaced_by(before.get(event.state_pair)))
        redaction = self._redaction_of(event)
        if redaction is not None:
            entry = replace(entry, event=event.redacted(), redacted_because=redaction.pdu, replaced=None)
        changes.also(*(event_store.gap_write(self.room.room_id, event_id) for event_id in self._gaps))
        return self.carry_out(changes, entry)

    def _put_on_top(self, changes: Changes, entry: LogEntry, followed: Collection[str]) -> None:
        """Add the entry, and bring the room into the state that its newest events then come to."""
        head = self.room.head
        others = [event_id for event_id in head.extremities if event_id not in followed]
        is_newest = not self.awaited.is_followed
        if not others and is_newest and entry.state_root == head.state_root:
            changes.take(entry)
            return
        own = StoredEvent(entry.event, self.room.room_id, "accepted", entry.state_root)
        self.forks.learn({self.event_id: own})
        if is_newest or len(others) < len(head.extremities):
            tips = [*self.forks.stored(others).values(), *([own] if is_newest else [])]
            after = self.forks.resolve([self.forks.after(tip) for tip in tips])
        else:
            after = head.state_root
        expected = self.forks.after(replace(own, state_root=head.state_root))
        changes.merge(
            replace(entry, resolved=after != expected),
            after,
            self.forks.unstored([entry.state_root, after]),
            self.forks.differences(head.state_root, after),
        )
        changes.also(*self.forks.resolution_writes([entry.state_root, after]))

    def _followed(self, event: Event) -> set[str]:
        """The events that this one follows; behind such as never counted among the newest, those they do."""
        followed: set[str] = set()
        layer = list(event.prev_events)
        for _ in range(_WALK_LIMIT):
            followed.update(layer)
            passed = [it for it in self.forks.stored(layer).values() if it.kind != "accepted"]
            layer = [
                event_id for it in passed for event_id in it.event.prev_events if event_id not in followed
            ]
            if not layer:
                break
        return followed

    # -- Redactions --------------------------------------------------------------------------------------

    def _redaction_of(self, event: Event) -> Event | None:
        """The redaction that has waited for this event and takes effect on it."""
        waiting = self.forks.stored(self.awaited.redactions)
        for redaction in waiting.values():
            if redaction.kind == "accepted" and redaction.state_root is not None:
                state = self.forks.state(redaction.state_root, REDACTION_STATE)
                if takes_effect(redaction.event, event, state):
                    return redaction.event
        return None

    def carry_out(self, changes: Changes, entry: LogEntry) -> LogEntry:
        """If the event is a redaction, redact its target, or have it wait for that; it is shown if it does.

        https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions
        """
        target_id = entry.event.redacts
        if target_id is None:
            return entry
        target = self.forks.stored([target_id]).get(target_id)
        if target is not None and target.room_id != self.room.room_id:
            return replace(entry, withheld=True)
        if target is None or target.entry is None:
            changes.also(event_store.hold_redaction_write(self.room.room_id, target_id, self.event_id))
        if target is None:
            return replace(entry, withheld=True)
        state = self.state_at(entry.state_root, REDACTION_STATE)
        if not takes_effect(entry.event, target.event, state):
            return replace(entry, withheld=True)
        if target.entry is not None:
            changes.redact(target.entry, entry.event)
            return entry
        changes.also(event_store.redact_write(target))
        changes.redact_state(target.event.redacted())
        return replace(entry, withheld=True)


def _state_about(event: Event) -> list[StateKey]:
    """The state that an event is judged by, and that its log entry tells of: read together."""
    return [*auth_state_types_of(event), HISTORY_VISIBILITY, *filter(None, [event.state_pair])]
