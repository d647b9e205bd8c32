"""Rooms for tests, composed of small pieces: what to send, and where in the room's graph to send it.

    room = Room("12")                                            # alice creates it and joins
    room.send("pl", ALICE, power_levels({BOB: 50}))              # after the last event, unless told otherwise
    room.send("ban", ALICE, member(BOB, "ban"), after="bob")
    room.send("topic", BOB, topic("mine"), after="bob")          # a fork: two events after "bob"
    room.states_after("ban", "topic")                            # what there is to resolve

An event's ID is "$" and its name (and a domain, in room versions 1 and 2), so that tests decide ties by it.
Its auth events are those that the specification selects from the state before it; events that the rules don't
allow there are refused, unless sent with `rejected=True`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from murmuration.protocol.auth_rules import auth_event_types, check_auth
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, UserId
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from murmuration.protocol.state_resolution import resolve

ALICE = UserId("@alice:example.org")
ADMIN = UserId("@admin:example.org")
MOD = UserId("@mod:example.org")
BOB = UserId("@bob:example.org")
CAROL = UserId("@carol:example.org")
DAVE = UserId("@dave:other.example")
EVE = UserId("@eve:other.example")

ALL_VERSIONS = tuple(ROOM_VERSIONS)


class Piece(NamedTuple):
    """What an event says, apart from its place in a room; `extra` are further properties of the PDU."""

    type: str
    state_key: str | None
    content: dict[str, Any]
    extra: Mapping[str, Any] = {}


def state(event_type: str, state_key: str = "", **content: Any) -> Piece:
    return Piece(event_type, state_key, content)


def message(event_type: str = "m.room.message", **content: Any) -> Piece:
    return Piece(event_type, None, content)


def member(user_id: UserId, membership: str, **content: Any) -> Piece:
    return Piece("m.room.member", user_id, {"membership": membership, **content})


def join_rules(rule: str, **content: Any) -> Piece:
    return state("m.room.join_rules", join_rule=rule, **content)


def power_levels(users: Mapping[UserId, Any] | None = None, **content: Any) -> Piece:
    return Piece("m.room.power_levels", "", content if users is None else {"users": dict(users), **content})


def topic(text: str) -> Piece:
    return state("m.room.topic", topic=text)


def create(version: RoomVersion, creator: str = ALICE, **content: Any) -> Piece:
    named = {} if version.implicit_room_creator else {"creator": creator}
    return state("m.room.create", room_version=version.id, **named, **content)


def event_id_of(version: RoomVersion, name: str) -> EventId:
    return EventId(f"${name}:example.org") if version.server_assigned_event_ids else EventId(f"${name}")


def make_event(
    version: RoomVersion,
    name: str,
    sender: UserId,
    piece: Piece,
    *,
    prev: Sequence[str] = (),
    auth: Sequence[str] = (),
    depth: int = 1,
    ts: int = 0,
) -> Event:
    """Return an event whose previous and auth events are given by name; it has neither hashes nor
    signatures.
    """

    def references(names: Sequence[str]) -> list[Any]:
        ids = [event_id_of(version, name) for name in names]
        return [(event_id, {}) for event_id in ids] if version.server_assigned_event_ids else ids

    pdu: Any = {
        "type": piece.type,
        "sender": sender,
        "content": piece.content,
        "depth": depth,
        "origin_server_ts": ts,
        "prev_events": references(prev),
        "auth_events": references(auth),
    }
    if piece.state_key is not None:
        pdu["state_key"] = piece.state_key
    if not version.create_event_is_room_id:
        pdu["room_id"] = "!room:example.org"
    elif piece.type != "m.room.create":
        pdu["room_id"] = "!create"
    event_id = event_id_of(version, name)
    if version.server_assigned_event_ids:
        pdu["event_id"] = event_id
    pdu |= piece.extra
    return Event(pdu, version, event_id)


class Room:
    """A room's graph of events, and the state after each."""

    def __init__(self, version: str = "12", **create_content: Any) -> None:
        self.version = ROOM_VERSIONS[version]
        self.events: dict[EventId, Event] = {}
        self.rejected: set[str] = set()
        self.state_after: dict[str, dict[StateKey, EventId]] = {}
        self.fetched: list[tuple[str, ...]] = []
        self._last = ""
        self.send("create", ALICE, create(self.version, **create_content), after=())
        self.send("alice", ALICE, member(ALICE, "join"))

    def __getitem__(self, name: str) -> Event:
        return self.events[event_id_of(self.version, name)]

    def send(
        self,
        name: str,
        sender: UserId,
        piece: Piece,
        *,
        after: str | Sequence[str] | None = None,
        ts: int | None = None,
        auth: Sequence[str] | None = None,
        rejected: bool = False,
    ) -> Event:
        """Add an event after those named, by default after the last one and a second later.

        `auth` names its auth events in place of those that the state before it selects.
        """
        parents = [self._last] if after is None else [after] if isinstance(after, str) else list(after)
        before = self.state_before(parents)
        event = self.draft(name, sender, piece, parents=parents, before=before, ts=ts, auth=auth)
        if rejected:
            self.rejected.add(event.event_id)
        else:
            check_auth(event, {key: self.events[event_id] for key, event_id in before.items()})
            if (key := event.state_pair) is not None:
                before = {**before, key: event.event_id}
        self.events[event.event_id] = event
        self.state_after[name] = before
        self._last = name
        return event

    def draft(
        self,
        name: str,
        sender: UserId,
        piece: Piece,
        *,
        parents: Sequence[str],
        before: Mapping[StateKey, EventId],
        ts: int | None = None,
        auth: Sequence[str] | None = None,
    ) -> Event:
        """Return the event that `send` would send, without adding it to the room."""
        pairs = auth_event_types(self.version, piece.type, sender, piece.state_key, piece.content)
        selected = [self.name_of(before[pair]) for pair in pairs if pair in before]
        return make_event(
            self.version,
            name,
            sender,
            piece,
            prev=parents,
            auth=selected if auth is None else auth,
            depth=1 + max((self[parent].depth for parent in parents), default=0),
            ts=1000 * len(self.events) if ts is None else ts,
        )

    def name_of(self, event_id: EventId) -> str:
        return event_id[1:].partition(":")[0]

    def states_after(self, *names: str) -> list[dict[StateKey, EventId]]:
        return [self.state_after[name] for name in names]

    def state_before(self, parents: Sequence[str]) -> dict[StateKey, EventId]:
        """Return the state before an event that follows these."""
        if not parents:
            return {}
        return self.resolve(*parents) if len(parents) > 1 else self.state_after[parents[0]]

    def resolve(self, *names: str) -> dict[StateKey, EventId]:
        """Return the resolution of the states after these events."""
        return resolve(self.version, self.states_after(*names), self.fetch, rejected=self.rejected)

    def resolved(self, *names: str) -> dict[StateKey, str]:
        """Return `resolve`'s result by the names of events."""
        return {key: self.name_of(event_id) for key, event_id in self.resolve(*names).items()}

    def fetch(self, event_ids: Collection[EventId]) -> dict[EventId, Event]:
        """Look events up as a database would, and record each such round trip in `fetched`."""
        self.fetched.append(tuple(event_ids))
        return {event_id: self.events[event_id] for event_id in event_ids if event_id in self.events}
