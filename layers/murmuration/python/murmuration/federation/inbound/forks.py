"""Forks: the states after a room's events, and the one state to which several of them resolve.

States are snapshots. Parts that two snapshots share are neither read nor compared, so the cost of resolving a
fork depends on what the fork changed, not on the size of the room. Equal states are equal snapshots. So each
resolution is done once: its result is stored under the snapshots that were resolved.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from murmuration.aws.dynamodb import Write
from murmuration.cache import LruCache
from murmuration.protocol import state_trie
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.protocol.room_versions import RoomVersion
from murmuration.protocol.state_resolution import resolve_conflicted
from murmuration.protocol.state_trie import NodeId
from murmuration.storage.rooms import event_store, snapshots
from murmuration.storage.rooms.event_store import StoredEvent

_after: LruCache[tuple[str, str], NodeId] = LruCache(4096)
"""Cached states after events that aren't state events, by room and event ID. They never change, and are
stored."""


class Forks:
    """The states of one room, while something is written there. New nodes are kept in memory until they are
    stored.
    """

    def __init__(self, room_id: RoomId, version: RoomVersion) -> None:
        self.room_id = room_id
        self.version = version
        self._resolved: dict[tuple[NodeId, ...], NodeId] = {}
        self._known: dict[EventId, StoredEvent] = {}
        self._nodes: dict[NodeId, bytes] = {}

    # -- Events ------------------------------------------------------------------------------------------

    def learn(self, known: Mapping[EventId, StoredEvent]) -> None:
        """Add events that were read, or that will be stored."""
        self._known.update(known)

    def known(self, event_id: EventId) -> StoredEvent | None:
        """Return an event that was looked up; None if it wasn't found."""
        return self._known.get(event_id)

    def stored(self, event_ids: Iterable[EventId]) -> dict[EventId, StoredEvent]:
        """Return those of these events that are known. Two round trips for those that weren't looked up
        before.
        """
        wanted = list(dict.fromkeys(event_ids))
        missing = [event_id for event_id in wanted if event_id not in self._known]
        if missing:
            self._known.update(event_store.read(missing, self.version, self.room_id))
        return {event_id: self._known[event_id] for event_id in wanted if event_id in self._known}

    def events(self, event_ids: Iterable[EventId]) -> dict[EventId, Event]:
        return {event_id: stored.event for event_id, stored in self.stored(event_ids).items()}

    # -- States ------------------------------------------------------------------------------------------

    def fetch(self, node_ids: Collection[NodeId]) -> Mapping[NodeId, bytes]:
        """Return the nodes, whether or not they are stored yet."""
        held = {node_id: self._nodes[node_id] for node_id in node_ids if node_id in self._nodes}
        missing = [node_id for node_id in node_ids if node_id not in held]
        return {**held, **(snapshots.fetch_from(self.room_id)(missing) if missing else {})}

    def build(self, state: Mapping[StateKey, EventId]) -> NodeId:
        """Return the snapshot of a whole state."""
        root, nodes = state_trie.build(self.room_id, state)
        self._nodes |= nodes
        return root

    def put(self, root: NodeId, changes: Mapping[StateKey, EventId | None]) -> NodeId:
        """Return the snapshot `root` with these changes."""
        after, nodes = state_trie.update(self.room_id, root, changes, self.fetch)
        self._nodes |= nodes
        return after

    def after(self, stored: StoredEvent) -> NodeId:
        """Return the state after an event whose place is known. A rejected event doesn't change the state."""
        root, pair = stored.state_root, stored.event.state_pair
        if root is None:
            raise ValueError(f"the state before {stored.event.event_id} is not known")
        if pair is None or stored.kind == "rejected":
            return root
        return self.put(root, {pair: stored.event.event_id})

    def state(self, root: NodeId, pairs: Iterable[StateKey]) -> dict[StateKey, Event]:
        """Return the events of a snapshot with these (type, state key) pairs, without pairs that it lacks."""
        found = state_trie.get(root, list(dict.fromkeys(pairs)), self.fetch)
        events = self.events(found.values())
        return {pair: events[event_id] for pair, event_id in found.items() if event_id in events}

    def differences(self, before: NodeId, after: NodeId) -> dict[StateKey, tuple[Event | None, Event | None]]:
        """Return the pairs in which two snapshots differ, each with the event in `before` and the one in
        `after`.
        """
        changes = state_trie.diff(before, after, self.fetch)
        ids = [event_id for pair in changes.values() for event_id in pair if event_id is not None]
        events = self.events(ids)
        return {
            pair: (events[old] if old is not None else None, events[new] if new is not None else None)
            for pair, (old, new) in changes.items()
        }

    def unstored(self, roots: Iterable[NodeId]) -> dict[NodeId, bytes]:
        """Return the nodes of these snapshots that aren't stored yet."""
        return state_trie.needed(roots, self._nodes)

    def after_all(self, event_ids: Iterable[EventId]) -> list[NodeId]:
        """Return the states after these events of the log, without duplicates."""
        return list(dict.fromkeys(self.after_each(event_ids).values()))

    def after_each(self, event_ids: Iterable[EventId]) -> dict[str, NodeId]:
        """Return the state after each of these events of the log, by event ID.

        A warm process caches the states after events that aren't state events, so that many forks aren't read
        each time.
        """
        roots: dict[str, NodeId] = {}
        wanted = list(event_ids)
        unknown = [event_id for event_id in wanted if _after.get((self.room_id, event_id)) is None]
        stored = self.stored(unknown)
        for event_id in wanted:
            root = _after.get((self.room_id, event_id))
            if root is None and event_id in stored:
                root = self.after(stored[event_id])
                if stored[event_id].event.state_pair is None:
                    _after.put((self.room_id, event_id), root)
            if root is not None:
                roots[event_id] = root
        return roots

    # -- Resolution --------------------------------------------------------------------------------------

    def resolve(self, roots: Iterable[NodeId]) -> NodeId:
        """Return the snapshot of the state to which these states resolve."""
        states = tuple(sorted(set(roots)))
        if len(states) <= 1:
            return states[0] if states else state_trie.EMPTY
        known = self._resolved.get(states) or snapshots.read_resolution(self.room_id, states)
        if known is not None:
            return known
        conflicts = state_trie.conflicts(states, self.fetch)
        rejected = _Rejected(self)
        base = states[0]
        resolved = resolve_conflicted(
            self.version, conflicts, _Unconflicted(self, base, conflicts), self.events, rejected=rejected
        )
        entries = {pair: resolved.get(pair) for pair in conflicts} | resolved
        changes = {
            pair: event_id
            for pair, event_id in entries.items()
            if pair not in conflicts or conflicts[pair][0] != event_id
        }
        root = self.put(base, changes)
        self._resolved[states] = root
        return root

    def resolution_writes(self, stored: Collection[NodeId]) -> list[Write]:
        """Return the writes that store the results of state resolutions, so that later events don't resolve
        again.

        Only results are stored whose snapshot is stored already or is among `stored`.
        """
        return [
            snapshots.resolution_write(self.room_id, states, root)
            for states, root in self._resolved.items()
            if root in stored or root not in self._nodes
        ]


class _Unconflicted:
    """The state that all states to be resolved have in common, looked up in one of them."""

    def __init__(
        self, forks: Forks, root: NodeId, conflicts: Mapping[StateKey, Sequence[EventId | None]]
    ) -> None:
        self._forks = forks
        self._root = root
        self._conflicts = conflicts

    def get(self, keys: Collection[StateKey]) -> Mapping[StateKey, EventId]:
        return state_trie.get(self._root, keys, self._forks.fetch)

    def event_ids(self) -> Collection[EventId]:
        entries = state_trie.items(self._root, self._forks.fetch)
        return [event_id for pair, event_id in entries.items() if pair not in self._conflicts]


class _Rejected:
    """Tells whether an event that was looked up is rejected."""

    def __init__(self, forks: Forks) -> None:
        self._forks = forks

    def __contains__(self, event_id: object) -> bool:
        found = self._forks.stored([EventId(event_id)]) if isinstance(event_id, str) else {}
        return any(stored.kind == "rejected" for stored in found.values())
