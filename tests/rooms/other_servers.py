"""Other servers for the tests of rooms: a plain model of a room's graph, which makes and signs events.

The model keeps all states whole and in memory, and resolves them by the protocol's own `resolve`: what the
rooms do with snapshots, storage and shortcuts has to come to the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from murmuration.federation.inbound.elsewhere import StateIds
from murmuration.federation.inbound.receiving import receive
from murmuration.federation.inbound.reception import Received
from murmuration.protocol import state_trie
from murmuration.protocol.auth_rules import (
    AuthRuleViolation,
    auth_event_types,
    check_auth,
)
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
from murmuration.protocol.pdus.building import build_event
from murmuration.protocol.pdus.hashing import reference_hash
from murmuration.protocol.pdus.keys import VerifyKey
from murmuration.protocol.pdus.signing import SigningKey
from murmuration.protocol.state_resolution import resolve
from murmuration.rooms.room import Room
from murmuration.rooms.writing.gaps import GAP
from murmuration.server_keys import signing_key
from murmuration.storage.rooms import room_items, snapshots
from tests.conftest import SERVER_NAME

OTHER = "other.example"
_FAR = 10**15
_numbers = itertools.count(1)


def key_of(server: str) -> SigningKey:
    return signing_key() if server == SERVER_NAME else SigningKey(server.encode().ljust(32, b".")[:32], "1")


@dataclass
class Mirror:
    """A room as other servers see it; also what they answer when asked about it (`RemoteServers`)."""

    room_id: RoomId
    events: dict[EventId, Event] = field(default_factory=dict)
    state_after: dict[str, dict[StateKey, EventId]] = field(default_factory=dict)
    state_at: dict[str, dict[StateKey, EventId]] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    known: list[str] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    """Events that nobody has when asked for what came before others, or for the state before them."""
    secret: set[str] = field(default_factory=set)
    """Events that nobody has when asked for auth chains."""
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.version = Room.load(self.room_id).version
        self.catch_up()

    def catch_up(self) -> None:
        """Learn the events that our server has made."""
        for entry in room_items.read_log(self.room_id, self.version):
            self.learn(entry.event)

    def learn(self, event: Event) -> None:
        if event.event_id in self.events:
            return
        before = self.resolve(event.prev_events)
        self.events[event.event_id] = event
        self.state_at[event.event_id] = before
        after = dict(before)
        try:
            check_auth(event, self.whole(before))
        except AuthRuleViolation:
            self.rejected.add(event.event_id)
        else:
            if event.state_pair is not None:
                after[event.state_pair] = event.event_id
        self.state_after[event.event_id] = after

    def resolve(self, event_ids: Iterable[str]) -> dict[StateKey, EventId]:
        """Return the resolution of the states after these events."""
        states = [self.state_after[event_id] for event_id in event_ids]
        if not states:
            return {}
        return resolve(self.version, states, self.fetch, rejected=self.rejected)

    def fetch(self, event_ids: Collection[EventId]) -> Mapping[EventId, Event]:
        return {event_id: self.events[event_id] for event_id in event_ids if event_id in self.events}

    def whole(self, state: Mapping[StateKey, EventId]) -> dict[StateKey, Event]:
        return {pair: self.events[event_id] for pair, event_id in state.items()}

    def newest(self) -> list[EventId]:
        followed = {event_id for event in self.events.values() for event_id in event.prev_events}
        return [event_id for event_id in self.events if event_id not in followed]

    # -- Making events -----------------------------------------------------------------------------------

    def make(
        self,
        sender: UserId,
        event_type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        after: Sequence[Event | str] | Event | str | None = None,
        auth: Sequence[str] | None = None,
        learn: bool = True,
        **changes: Any,
    ) -> Event:
        """Return an event by `sender`, signed by their server, that follows `after` (None: the newest)."""
        if isinstance(after, (Event, str)):
            after = [after]
        previous = [it.event_id if isinstance(it, Event) else EventId(it) for it in (after or self.newest())]
        before = self.resolve(previous)
        pairs = auth_event_types(self.version, event_type, sender, state_key, content)
        cited = [before[pair] for pair in pairs if pair in before] if auth is None else list(auth)
        server = sender.partition(":")[2]
        arguments: dict[str, Any] = {
            "room_version": self.version,
            "type": event_type,
            "sender": sender,
            "content": dict(content),
            "state_key": state_key,
            "room_id": self.room_id,
            "prev_events": previous,
            "auth_events": cited,
            "depth": 1 + max(self.events[it].depth for it in previous),
            "origin_server_ts": max(self.events[it].origin_server_ts for it in previous) + 1000,
            "server_name": server,
            "signing_key": key_of(server),
        }
        if self.version.server_assigned_event_ids:
            arguments["event_id"] = f"$made{next(_numbers)}:{server}"
            arguments["reference_hashes"] = {
                event_id: reference_hash(event.pdu, self.version) for event_id, event in self.events.items()
            }
        event = build_event(**{**arguments, **changes})
        if learn:
            self.learn(event)
        return event

    def message(self, sender: UserId, text: str, **changes: Any) -> Event:
        return self.make(sender, "m.room.message", {"msgtype": "m.text", "body": text}, **changes)

    def state(
        self, sender: UserId, event_type: str, content: Mapping[str, Any], state_key: str = "", **changes: Any
    ) -> Event:
        return self.make(sender, event_type, content, state_key, **changes)

    def topic(self, sender: UserId, text: str, **changes: Any) -> Event:
        return self.state(sender, "m.room.topic", {"topic": text}, **changes)

    def member(self, sender: UserId, user_id: str, membership: str, **changes: Any) -> Event:
        return self.state(sender, "m.room.member", {"membership": membership}, user_id, **changes)

    # -- Sending them to us ------------------------------------------------------------------------------

    def send(self, *events: Event) -> list[Received]:
        """Let our server receive these events, in this order."""
        return [receive(self.room_id, event.pdu, self) for event in events]

    def kinds(self, *events: Event) -> list[str]:
        return [received.kind for received in self.send(*events)]

    # -- Being asked (RemoteServers) ---------------------------------------------------------------------

    def keys(self, wanted: Collection[tuple[str, str]]) -> Mapping[tuple[ServerName, str], VerifyKey]:
        ring: dict[tuple[ServerName, str], VerifyKey] = {}
        for server, key_id in wanted:
            key = key_of(server)
            if key.key_id == key_id:
                ring[ServerName(server), key_id] = VerifyKey(key_id, key.public_key, valid_until_ts=_FAR)
        return ring

    def auth_chain(self, event: Event) -> list[Any]:
        self.asked.append("auth_chain")
        chain = self.chain_of(event.auth_events)
        return [self.events[event_id].pdu for event_id in chain if event_id not in self.secret]

    def events_between(self, event: Event, known: Sequence[EventId]) -> list[Any]:
        self.asked.append("events_between")
        behind = self.ancestors(known)
        between = self.ancestors(event.prev_events) - behind
        told = between - self.hidden - self.secret
        return [event.pdu for event_id, event in reversed(self.events.items()) if event_id in told]

    def state_ids_before(self, event: Event) -> StateIds | None:
        self.asked.append("state_ids_before")
        if event.event_id in self.hidden:
            return None
        state = list(self.state_at[event.event_id].values())
        return StateIds(state, self.chain_of(state))

    def state_events(self, event: Event, event_ids: Sequence[EventId]) -> list[Any]:
        self.asked.append(f"state_events {len(event_ids)}")
        return [self.events[event_id].pdu for event_id in event_ids if event_id in self.events]

    def chain_of(self, event_ids: Iterable[str]) -> list[EventId]:
        return self._reach(event_ids, lambda event: event.auth_events)

    def ancestors(self, event_ids: Iterable[str]) -> set[str]:
        return set(self._reach(event_ids, lambda event: event.prev_events))

    def _reach(self, event_ids: Iterable[str], cited: Any) -> list[EventId]:
        found: dict[EventId, None] = {}
        pending = list(event_ids)
        while pending:
            event_id = EventId(pending.pop())
            if event_id in self.events and event_id not in found:
                found[event_id] = None
                pending += cited(self.events[event_id])
        return list(found)

    # -- Comparing ---------------------------------------------------------------------------------------

    def names(self, state: Mapping[StateKey, EventId]) -> dict[StateKey, Any]:
        """Return a state with the names of its events."""
        return {pair: self.events[event_id].content for pair, event_id in state.items()}


def current_state(room_id: RoomId) -> dict[StateKey, EventId]:
    """Return our server's current state. Checks that its items, counts and snapshot agree."""
    room = Room.load(room_id)
    entries = room_items.read_state_of_type(room_id, room.version)
    items = {(it.event.type, it.event.state_key or ""): it.event.event_id for it in entries}
    assert items == state_trie.items(room.head.state_root, snapshots.fetch_from(room_id))
    members = [entry.event.membership for entry in entries if entry.event.type == "m.room.member"]
    assert (room.head.joined, room.head.invited) == (members.count("join"), members.count("invite"))
    return items


def log_ids(room_id: RoomId) -> list[str]:
    """Return the IDs of the events in our server's log. Checks that new events have no unused ordinals except
    gaps.
    """
    room = Room.load(room_id)
    entries = room_items.read_log(room_id, room.version)
    assert (entries[0].ordinal, entries[-1].ordinal) == (room.head.oldest, room.head.ordinal)
    fresh = [entry for entry in entries if not entry.is_past]
    for before, after in itertools.pairwise(fresh):
        assert after.ordinal - before.ordinal == (1 + GAP if after.after_gap else 1)
    return [entry.event.event_id for entry in entries]
