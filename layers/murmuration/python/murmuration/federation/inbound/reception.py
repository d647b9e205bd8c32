"""Receives one event: reads the facts about the room that the checks need, and makes the writes for the
outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import TRANSACTION_LIMIT
from murmuration.federation.inbound import resets
from murmuration.federation.inbound.auth_chains import authorising_ids, bring_in, signing_times, valid_events
from murmuration.federation.inbound.elsewhere import MissingEvents, Pdu, RemoteServers
from murmuration.federation.inbound.forks import Forks
from murmuration.federation.inbound.graph import ancestors_first
from murmuration.federation.policy.asking import Asked
from murmuration.protocol import state_trie
from murmuration.protocol.auth_rules import auth_state_types_of
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.event_types import CREATE_KEY, HISTORY_VISIBILITY_KEY, POLICY_KEY
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.pdus.keys import KeyRing
from murmuration.protocol.pdus.validation import Judgement, Outcome, PolicyServer, Undecided
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import EXTREMITIES_LIMIT
from murmuration.rooms.writing.changes import Changes, replaced_by, store_nodes_first, visibility_by
from murmuration.rooms.writing.gaps import Places
from murmuration.rooms.writing.policy_servers import policy_server_in_use
from murmuration.rooms.writing.redactions import REDACTION_STATE, takes_effect
from murmuration.rooms.writing.settling import settle
from murmuration.storage.rooms import event_store, snapshots
from murmuration.storage.rooms.event_store import Awaited, Follower, Kind, StoredEvent
from murmuration.storage.rooms.room_items import DUMMY_EVENT, LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId

_LACKING_SHARE = 0.1
"""The largest share of another server's state that may be missing."""
MOST_EXTREMITIES = 20
"""How many forward extremities a room may have because of other servers' events."""
_WALK_LIMIT = 50
_STATE_LIMIT = 200_000
"""How many events of another server's state are considered."""


@dataclass(frozen=True, slots=True)
class Received:
    """The outcome of receiving an event, with the reason if it wasn't accepted."""

    event_id: EventId
    kind: Kind
    reason: str = ""
    undecided: bool = False
    """Whether the room's policy server gave no answer. Then the event is to be judged again later."""
    undecided_before: Sequence[Pdu] = ()
    """Fetched earlier events about which the policy server gave no answer either."""


class Reception:
    """Receives one event, and reads the facts about the room that the checks on receipt need."""

    def __init__(
        self,
        room: Room,
        event: Event,
        remote: RemoteServers,
        receive_earlier: Callable[[Event], object] | None = None,
    ) -> None:
        """Prepare the reception of an event.

        `receive_earlier` receives an event that comes before it. Without it, missing earlier events aren't
        fetched.
        """
        self.room = room
        self.event_id = event.event_id
        self.remote = remote
        self.receive_earlier = receive_earlier
        self.forks = Forks(room.room_id, room.version)
        self._event = event
        self.awaited = Awaited()
        self._root: NodeId | None = None
        self.gaps: list[EventId] = []
        self.leaves_many_extremities = False
        self.relayed = False
        self.asked = Asked()
        self.reset: Mapping[StateKey, tuple[Event, Event | None]] = {}
        self._promoted = False

    def look_up(self) -> StoredEvent | None:
        """Return the event if its place is known already; else None. Also reads the events that it refers to.

        Takes two round trips.
        """
        event, room_id = self._event, self.room.room_id
        wanted = {self.event_id, *event.prev_events, *authorising_ids(event), *filter(None, [event.redacts])}
        stored, self.awaited = event_store.read_with_awaited(
            wanted, self.room.version, room_id, self.event_id
        )
        self.forks.learn(stored)
        known = self.forks.known(self.event_id)
        return known if known is not None and known.is_placed else None

    def judge_again(self, stored: StoredEvent) -> None:
        """Add an event that was left undecided to the log, if the checks allow it now."""
        self._root = stored.state_root
        self._promoted = True

    # -- The facts ---------------------------------------------------------------------------------------

    def keys(self, event: Event) -> KeyRing:
        return self.remote.keys(signing_times([event]))

    def auth_events(self, event: Event) -> tuple[Mapping[EventId, Event], Collection[EventId]]:
        wanted = authorising_ids(event)
        found = self.forks.stored(wanted)
        if len(found) < len(set(wanted)):
            # The missing auth events are most likely among the events before it.
            self._receive_events_before(event)
            found = self.forks.stored(wanted)
        if len(found) < len(set(wanted)):
            bring_in(self.forks, self.remote.auth_chain(event), self.remote)
            found = self.forks.stored(wanted)
        if missing := set(wanted) - found.keys():
            raise MissingEvents(missing)
        rejected = [event_id for event_id, stored in found.items() if stored.kind == "rejected"]
        return {event_id: stored.event for event_id, stored in found.items()}, rejected

    def state_before(self, event: Event) -> Mapping[StateKey, Event]:
        return self.state_at(self.root_before(event), _state_about(event))

    def current_state(self, event: Event) -> Mapping[StateKey, Event]:
        pairs = [*_state_about(event), POLICY_KEY]
        if not self.gaps:
            return self.room.events(pairs)
        # Events of the gap couldn't become current, so resolve both states. Otherwise a user who joined there
        # would not be recognised.
        root = self.forks.resolve([self.room.head.state_root, self.root_before(event)])
        return self.forks.state(root, pairs)

    def policy_server(self, event: Event) -> PolicyServer | None:  # noqa: ARG002 - it is the room's
        return policy_server_in_use(self.room, self.room.event(*POLICY_KEY))

    def ask_policy_server(self, server: PolicyServer, event: Event) -> Event:
        return self.asked.ask_to_sign(server, event)

    def state_at(self, root: NodeId, pairs: Iterable[StateKey]) -> Mapping[StateKey, Event]:
        return self.room.events(pairs) if root == self.room.head.state_root else self.forks.state(root, pairs)

    # -- The event's place in the graph ------------------------------------------------------------------

    def root_before(self, event: Event) -> NodeId:
        """Return the snapshot of the state before the event."""
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

    def _missing(self, event: Event) -> list[EventId]:
        """Return the events right before this one whose own place isn't known."""
        known = self.forks.stored(event.prev_events)
        here = {
            event_id
            for event_id, stored in known.items()
            if stored.is_placed and stored.room_id == self.room.room_id
        }
        return [event_id for event_id in event.prev_events if event_id not in here]

    def _receive_events_before(self, event: Event) -> None:
        """Receive the events between the known ones and this one first, as far as they can be fetched."""
        receive_earlier, self.receive_earlier = self.receive_earlier, None
        if receive_earlier is None or not self._missing(event):
            return
        room_id = self.room.room_id
        pdus = self.remote.events_between(event, self.room.head.extremities)
        events = valid_events(self.forks, pdus)
        events.pop(self.event_id, None)
        for earlier in ancestors_first(events, lambda it: it.prev_events):
            try:
                receive_earlier(earlier)
            except (MatrixError, MissingEvents):
                continue
        self.room = settle(Room.load(room_id))
        self.forks = Forks(room_id, self.room.version)

    def _ask_state_before(self, event: Event, missing: Collection[EventId]) -> NodeId:
        """Return the state before the event according to another server, as far as its events are valid.

        Raises MissingEvents if much of that state can't be fetched, or if it isn't a state of the room.
        Otherwise another server's mistake would make this server reject the event.

        The events that this state shares with the room's current state are neither read nor fetched, and the
        snapshot reuses the nodes that they share.
        """
        told = self.remote.state_ids_before(event)
        if told is None:
            raise MissingEvents(missing)
        current_root = self.room.head.state_root
        current = state_trie.items(current_root, self.forks.fetch)
        pairs = {event_id: pair for pair, event_id in current.items()}
        state_ids = dict.fromkeys(told.state[:_STATE_LIMIT])
        chain_ids = dict.fromkeys(told.auth_chain[:_STATE_LIMIT])
        others = [event_id for event_id in state_ids if event_id not in pairs]
        chain = [event_id for event_id in chain_ids if event_id not in pairs]
        known = self.forks.stored([*others, *chain])
        if unknown := [event_id for event_id in dict.fromkeys([*chain, *others]) if event_id not in known]:
            bring_in(self.forks, self.remote.state_events(event, unknown), self.remote)
        found = self.forks.stored(others)
        if len(others) - len(found) > len(state_ids) * _LACKING_SHARE:
            raise MissingEvents(missing)
        state = {pairs[event_id]: event_id for event_id in state_ids if event_id in pairs}
        for event_id, stored in found.items():
            pair = stored.event.state_pair
            if pair is not None and stored.kind != "rejected" and stored.room_id == self.room.room_id:
                state[pair] = event_id
        if CREATE_KEY not in state:
            raise MissingEvents(missing)
        self.gaps = list(missing)
        changes: dict[StateKey, EventId | None] = {pair: None for pair in current if pair not in state}
        changes |= {pair: event_id for pair, event_id in state.items() if current.get(pair) != event_id}
        return self.forks.put(current_root, changes)

    # -- The outcome --------------------------------------------------------------------------------------

    def conclude(self, judgement: Judgement) -> Received:
        """Write the result of the checks. Raises ConditionFailed if another writer was quicker."""
        event = judgement.event
        reason = judgement.reason.message if judgement.reason is not None else ""
        if judgement.outcome is Outcome.ACCEPTED:
            self._accept(event, self.root_before(event))
            return Received(self.event_id, "accepted")
        undecided = isinstance(judgement.reason, Undecided)
        kind: Kind = "rejected" if judgement.outcome is Outcome.REJECTED else "soft_failed"
        if self._promoted:
            return Received(self.event_id, "soft_failed", reason, undecided)
        if self._redaction_of(event) is not None:
            event = event.redacted()
        # The events before a rejected event aren't fetched, so its place may stay unknown.
        root = None if self._root is None and self._missing(event) else self.root_before(event)
        if root is not None or self.forks.known(self.event_id) is None:
            kept = StoredEvent(event, self.room.room_id, kind, root, reason=reason, undecided=undecided)
            self.keep(kept)
        return Received(self.event_id, kind, reason, undecided)

    def keep(self, stored: StoredEvent) -> None:
        """Store an event outside the log."""
        root = stored.state_root or state_trie.EMPTY
        nodes = self.forks.unstored([root])
        writes = [*event_store.keep_writes(stored), *self.forks.resolution_writes([root])]
        node_writes = snapshots.node_writes(self.room.room_id, nodes)
        if len(writes) + len(node_writes) > TRANSACTION_LIMIT:
            node_writes = [store_nodes_first(self.room.room_id, root, nodes)]
        dynamodb.transact([*writes, *node_writes])
        snapshots.remember(self.room.room_id, nodes)

    def _accept(self, event: Event, root: NodeId) -> None:
        if self.awaited.follower is not None and self._fill_in(event, self.awaited.follower):
            return
        changes = self._changes()
        if self.gaps:
            changes.leave_gap()
        followed = self._followed(event)
        surplus = self._surplus(event, root, followed)
        is_newest = not self.awaited.is_followed and self.event_id not in surplus
        changes.follow(followed if is_newest else [*followed, self.event_id])
        changes.retire(surplus)
        entry = self.make_entry(changes, event, changes.next_ordinal)
        current = self.room.head.state_root
        entry = replace(entry, room_root=current if root != current else None)
        self._put_on_top(changes, entry, followed, is_newest=is_newest)
        after = changes.commit()
        if self.reset:
            resets.tell(self.room.room_id, self.event_id, self.reset)
        self.leaves_many_extremities = len(after.head.extremities) > EXTREMITIES_LIMIT

    def _changes(self) -> Changes:
        changes = Changes(self.room.version, self.room)
        if self._promoted:
            changes.promote(self.event_id)
        return changes

    def _fill_in(self, event: Event, follower: Follower) -> bool:
        """Put a late event into its place in a gap, where it doesn't change the state. Returns False if the
        gap is full.
        """
        ordinal = Places(self.room.room_id).before(follower)
        if ordinal is None:
            return False
        changes = self._changes()
        entry = self.make_entry(changes, event, ordinal, below=follower.below)
        known = event_store.read_followers(self.room.room_id, self.gaps)
        place = Follower(ordinal, follower.below)
        changes.also(
            *(
                event_store.gap_replacement(self.room.room_id, event_id, place)
                for event_id in self.gaps
                if event_id not in known or place < known[event_id]
            )
        )
        changes.precede(entry, self.forks.unstored([entry.state_root]))
        changes.retire(self.retired(event))
        changes.also(*self.forks.resolution_writes([entry.state_root]))
        changes.commit()
        return True

    def retired(self, event: Event) -> set[EventId]:
        """Return the forward extremities that this old event follows, so that they aren't extremities any
        more.

        Returns none if their removal would change the room's state: then they stay until the next event.
        """
        head = self.room.head
        gone = set(event.prev_events).intersection(head.extremities)
        rest = [event_id for event_id in head.extremities if event_id not in gone]
        if not gone or not rest:
            return set()
        after = self.forks.resolve(self.forks.after_all(rest))
        return gone if after == head.state_root else set()

    def make_entry(
        self, changes: Changes, event: Event, ordinal: int, *, below: int | None = None
    ) -> LogEntry:
        """Return the log entry of the accepted event, and add the writes that belong to it to `changes`.

        `below` is for an event that fills a gap: the ordinal of the event that arrived as a new one.
        """
        root = self.root_before(event)
        before = self.state_at(root, _state_about(event))
        entry = LogEntry(
            ordinal,
            event,
            root,
            visibility_by(before.get(HISTORY_VISIBILITY_KEY)),
            after_gap=bool(self.gaps),
            filled_below=below,
            withheld=event.type == DUMMY_EVENT,
            relayed=self.relayed,
        )
        if root == self.room.head.state_root and event.state_pair is not None:
            entry = replace(entry, replaced=replaced_by(before.get(event.state_pair)))
        redaction = self._redaction_of(event)
        if redaction is not None:
            entry = replace(entry, event=event.redacted(), redacted_because=redaction.pdu, replaced=None)
        if below is None:
            place = Follower(ordinal, ordinal)
            changes.also(*(event_store.gap_write(self.room.room_id, it, place) for it in self.gaps))
        return self.carry_out(changes, entry)

    def _surplus(self, event: Event, root: NodeId, followed: Collection[str]) -> set[EventId]:
        """Return the forward extremities to drop, so that there are never too many.

        First those are dropped whose state equals the state after another one, the oldest first. If that
        isn't enough, the new event itself isn't made an extremity: it gets its place in the log, and counts
        once another event follows it.
        """
        others = [event_id for event_id in self.room.head.extremities if event_id not in followed]
        needed = len(others) + 1 - MOST_EXTREMITIES
        if self.awaited.is_followed or needed <= 0:
            return set()
        after = self.forks.after_each(others)
        own = StoredEvent(event, self.room.room_id, "accepted", root)
        newest_with = {after[event_id]: event_id for event_id in others if event_id in after}
        newest_with[self.forks.after(own)] = self.event_id
        spare = [it for it in others if it not in after or newest_with[after[it]] != it]
        return set(spare[:needed]) if len(spare) >= needed else {self.event_id}

    def _put_on_top(
        self, changes: Changes, entry: LogEntry, followed: Collection[str], *, is_newest: bool
    ) -> None:
        """Add the entry, and set the room's state to the one to which its newest events then resolve."""
        head = self.room.head
        others = [event_id for event_id in head.extremities if event_id not in followed]
        if not others and is_newest and entry.state_root == head.state_root:
            changes.take(entry)
            return
        own = StoredEvent(entry.event, self.room.room_id, "accepted", entry.state_root)
        self.forks.learn({self.event_id: own})
        if is_newest or len(others) < len(head.extremities):
            tips = self.forks.after_all(others)
            after = self.forks.resolve([*tips, self.forks.after(own)] if is_newest else tips)
        else:
            after = head.state_root
        expected = self.forks.after(replace(own, state_root=head.state_root))
        differences = self.forks.differences(head.state_root, after)
        if after != expected:
            self.reset = resets.find_reset(self.forks, head, entry.event, differences)
        changes.merge(
            replace(entry, resolved=after != expected),
            after,
            self.forks.unstored([entry.state_root, after]),
            differences,
        )
        changes.also(*self.forks.resolution_writes([entry.state_root, after]))

    def _followed(self, event: Event) -> set[EventId]:
        """Return the events that this one follows. Through events that aren't in the log, it continues to
        those that they follow.
        """
        followed: set[EventId] = set()
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
        """Return the redaction that has waited for this event and takes effect on it."""
        waiting = self.forks.stored(self.awaited.redactions)
        for redaction in waiting.values():
            if redaction.kind == "accepted" and redaction.state_root is not None:
                state = self.forks.state(redaction.state_root, REDACTION_STATE)
                if takes_effect(redaction.event, event, state):
                    return redaction.event
        return None

    def carry_out(self, changes: Changes, entry: LogEntry) -> LogEntry:
        """Redact the event's target if it is a redaction. If the target isn't known yet, store the redaction.

        Returns the entry. It is withheld from clients unless the redaction takes effect.
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
    """Return the keys of the state by which an event is judged and which its log entry records: read
    together.
    """
    return [*auth_state_types_of(event), HISTORY_VISIBILITY_KEY, *filter(None, [event.state_pair])]
