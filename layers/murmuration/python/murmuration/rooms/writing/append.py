"""Appends events of this server to a room: they are built, authorised and written in one transaction.

A writer that lost a race reads the room again and repeats its plan.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms
from murmuration.protocol import auth_rules
from murmuration.protocol.bodies import limit_size
from murmuration.protocol.errors import MalformedEvent, NotFound, TooLarge, Unavailable
from murmuration.protocol.event_types import CREATE_KEY, HISTORY_VISIBILITY_KEY, MEMBER, POLICY_KEY, TOMBSTONE
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import DeviceId, EventId, RoomId, UserId
from murmuration.protocol.pdus.building import build_event, unsigned_pdu
from murmuration.protocol.pdus.hashing import reference_hash
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.room import Room
from murmuration.rooms.writing.changes import Changes, replaced_by, state_bytes, visibility_by
from murmuration.rooms.writing.invite_port import signed_by_invited
from murmuration.rooms.writing.policy_servers import endorsed
from murmuration.rooms.writing.settling import settle
from murmuration.server_keys import signing_key
from murmuration.settings import settings
from murmuration.storage.live.streams import pause
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.rooms.room_items import DUMMY_EVENT, LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content
    from murmuration.protocol.pdus.building import EventParts
    from murmuration.protocol.pdus.shapes import Pdu, UnsignedPdu

T = TypeVar("T")
ATTEMPTS = 60
MAX_STATE_BYTES = 2_000_000
"""The maximum size of a room's state, without its members, to which this server's users may add."""
MAX_MEMBER_BYTES = 8_192
"""The maximum size of the content of a membership event of this server."""
RULING = frozenset(
    f"m.room.{name}"
    for name in (
        "create",
        "power_levels",
        "join_rules",
        "history_visibility",
        "guest_access",
        "server_acl",
        "encryption",
        "tombstone",
    )
)
"""Types of state that may be set even if the room's state has its maximum size."""
EXTREMITIES_LIMIT = 10
"""How many forward extremities a new event may follow. The others are left for the next event."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The properties of a new event that its sender chooses.

    `device_id` and `txn_id` are the sending client's; `delay_id` is set for a delayed event.
    """

    type: str
    sender: UserId
    content: Content
    state_key: str | None = None
    redacts: str | None = None
    origin_server_ts: int | None = None
    device_id: DeviceId | None = None
    txn_id: str | None = None
    delay_id: str | None = None


@dataclass
class Append(Changes):
    """New events of this server for one room, collected until they are committed together."""

    signed: dict[int, tuple[NodeId, Event]] = field(default_factory=dict)
    """Events that another server signed in an earlier attempt, by their position in the batch, with the state
    before them."""

    def add(self, draft: Draft) -> Event:
        """Build and authorise the next event, and return it.

        Raises Forbidden by the auth rules, MalformedEvent, TooLarge, BadJson. Raises NotFound if no local
        user is in the room any more and other servers continue it, except for a leave. If the room's policy
        server or an invited user's server refuses the event, raises that server's error; BadGateway if it
        doesn't answer.
        """
        event, state = self._authorised(draft)
        event = self._signed_elsewhere(event, state, invites=True)
        self._take(event, draft, visibility_by(state.get(HISTORY_VISIBILITY_KEY)))
        return event

    def offer(self, draft: Draft) -> Event:
        """Return the next event as `add` makes it, but not signed by an invited user's server. Adds nothing.

        Raises what `add` raises.
        """
        event, state = self._authorised(draft)
        return self._signed_elsewhere(event, state, invites=False)

    def check(self, draft: Draft) -> None:
        """Raise what `add` would raise, but add nothing.

        Use it for requests that change nothing: a sender who may not send the event still gets the error.
        """
        self._authorised(draft)

    def propose(self, draft: Draft) -> UnsignedPdu:
        """Return the PDU of the next event, for its sender's server to complete and sign. Adds nothing.

        Raises Forbidden by the auth rules, NotFound if this server doesn't know the room's current state.
        """
        parts, state = self._parts(draft)
        pdu = unsigned_pdu(room_version=self.version, **parts)
        auth_rules.check_auth(
            Event(cast("Pdu", pdu), self.version, EventId("$proposed")), state, template=True
        )
        return pdu

    def _signed_elsewhere(self, event: Event, state: Mapping[StateKey, Event], *, invites: bool) -> Event:
        """Return the event, signed by the room's policy server and an invited user's server if that is
        needed.

        If the state is unchanged, their signatures from an attempt that lost a race are used again, so that
        in a busy room they aren't asked again and again.
        """
        if self.room is None:
            return event
        place = len(self.entries)
        earlier = self.signed.get(place)
        if earlier is not None and earlier[0] == self.root and _is_alike(earlier[1], event, place):
            return earlier[1]
        signed = endorsed(self.room, state.get(POLICY_KEY), event)
        if invites:
            signed = signed_by_invited(self.room, signed)
        if signed is not event:
            self.signed[place] = (self.root, signed)
        return signed

    def _authorised(self, draft: Draft) -> tuple[Event, Mapping[StateKey, Event]]:
        """Return the next event, not yet added, and the state that authorises it."""
        if draft.type == TOMBSTONE and self.room_id and draft.content.get("replacement_room") == self.room_id:
            raise MalformedEvent("A room can't be replaced by itself")
        parts, state = self._parts(draft)
        if self.version.server_assigned_event_ids:
            parts["event_id"] = EventId(f"${secrets.token_urlsafe(18)}:{settings().server_name}")
        event = build_event(
            room_version=self.version,
            server_name=settings().server_name,
            signing_key=signing_key(),
            **parts,
        )
        try:
            auth_rules.check_auth(event, state)
        except auth_rules.AuthRuleViolation as error:
            if error.malformed:
                raise MalformedEvent(error.message) from error
            raise
        self._limit_state(event, state)
        return event, state

    def _parts(self, draft: Draft) -> tuple[EventParts, dict[StateKey, Event]]:
        """Return the parts of the next event, and the state that authorises it."""
        if self.room is not None and self.room.head.is_stale and not _is_leaving(draft):
            raise NotFound(
                "No user of this server is in the room any more, so this server doesn't receive its events"
            )
        pairs = auth_rules.auth_event_types(
            self.version, draft.type, draft.sender, draft.state_key, draft.content
        )
        wanted = [*pairs, HISTORY_VISIBILITY_KEY, POLICY_KEY, CREATE_KEY]
        if draft.state_key is not None:
            wanted.append((draft.type, draft.state_key))
        self.preload(wanted, changes_state=draft.state_key is not None)
        state = self.state(wanted)
        auth_events = [state[pair] for pair in pairs if pair in state]
        prev_events, depth = self._position()
        parts: EventParts = {
            "type": draft.type,
            "sender": draft.sender,
            "content": dict(draft.content),
            "state_key": draft.state_key,
            "room_id": self.room_id or None,
            "prev_events": prev_events,
            "auth_events": [event.event_id for event in auth_events],
            "depth": depth,
            "origin_server_ts": draft.origin_server_ts if draft.origin_server_ts is not None else now_ms(),
            "redacts": draft.redacts,
        }
        if self.version.server_assigned_event_ids:
            parts["reference_hashes"] = self._reference_hashes(prev_events, auth_events)
        return parts, state

    def _limit_state(self, event: Event, state: Mapping[StateKey, Event]) -> None:
        """Refuse more state than fits into the answers that contain all of it. Raises TooLarge.

        State that governs the room is never refused, so that a room that a user has filled can still be
        moderated.
        """
        pair = event.state_pair
        if pair is None:
            return
        if pair[0] == MEMBER:
            limit_size(event.content, "A membership", MAX_MEMBER_BYTES)
            return
        if self._state_bytes is None and self.room is not None:
            self._state_bytes = room_items.read_state_bytes(self.room_id, self.version)
        growth = state_bytes(event) - state_bytes(state.get(pair))
        total = (self._state_bytes or 0) + growth
        if growth > 0 and total > MAX_STATE_BYTES and not (pair[1] == "" and pair[0] in RULING):
            raise TooLarge(f"The state of a room may have {MAX_STATE_BYTES} bytes, without its members")

    def _position(self) -> tuple[list[EventId], int]:
        if self.entries:
            last = self.entries[-1].event
            return [last.event_id], last.depth + 1
        if self.room is not None:
            return _to_follow(self.room.head.extremities), self.room.head.depth + 1
        return [], 1

    def _reference_hashes(
        self, prev_events: Sequence[EventId], auth_events: Sequence[Event]
    ) -> dict[str, bytes]:
        """Return the hashes of the referenced events, which room versions 1 and 2 need."""
        at_hand = {
            event.event_id: event for event in (*auth_events, *(entry.event for entry in self.entries))
        }
        missing = [event_id for event_id in prev_events if event_id not in at_hand]
        at_hand |= event_store.read_events(missing, self.version, self.room_id)
        return {event_id: reference_hash(event.pdu, self.version) for event_id, event in at_hand.items()}

    def _take(self, event: Event, draft: Draft, visibility: str) -> None:
        pair = event.state_pair
        previous = self.state([pair]).get(pair) if pair else None
        self.take(
            LogEntry(
                ordinal=self.next_ordinal,
                event=event,
                state_root=self.root,
                visibility=visibility,
                device_id=draft.device_id,
                txn_id=draft.txn_id,
                delay_id=draft.delay_id,
                replaced=replaced_by(previous),
                withheld=event.type == DUMMY_EVENT,
            )
        )


def append(room_id: RoomId, plan: Callable[[Append], T], *, room: Room | None = None) -> T:
    """Run `plan` on the room, again after each lost race, and return what `plan` returned.

    Pass `room` to save the first read of the head. A plan that adds no event writes nothing. Raises NotFound
    for an unknown room, ConditionFailed if a write that the plan added is refused, Unavailable if contention
    doesn't end.
    """
    signed: dict[int, tuple[NodeId, Event]] = {}
    for attempt in range(ATTEMPTS):
        room = settle(room or Room.load(room_id))
        batch = Append(room.version, room, signed=signed)
        result = plan(batch)
        if not batch.entries:
            return result
        try:
            batch.commit()
        except ConditionFailed as error:
            if error.names:
                raise
            room = None
            pause(attempt)
            continue
        return result
    raise Unavailable("Too many requests change the room at once; try again")


def append_known(room_id: RoomId, plan: Callable[[Append], T]) -> T:
    """Do the same as `append` for a sender who must be in the room: raise Forbidden for an unknown room."""
    try:
        room = Room.load(room_id)
    except NotFound as error:
        raise unknown_room(room_id) from error
    return append(room_id, plan, room=room)


def _to_follow(extremities: Sequence[EventId]) -> list[EventId]:
    """Return which forward extremities the next event follows: if there are many, the first and the last
    ones.

    So an event follows what its sender saw last, and no extremity is left out for ever.
    """
    half = EXTREMITIES_LIMIT // 2
    if len(extremities) <= EXTREMITIES_LIMIT:
        return list(extremities)
    return [*extremities[:half], *extremities[-half:]]


def _is_alike(earlier: Event, event: Event, place: int) -> bool:
    """Return whether an event that was signed in an earlier attempt may be used for this one.

    Both must have the same content and auth events. Only the first event of a batch may have other previous
    events.
    """
    compared = ["type", "sender", "state_key", "content", "redacts", "auth_events"]
    if place:
        compared.append("prev_events")
    return all(earlier.pdu.get(name) == event.pdu.get(name) for name in compared)


def _is_leaving(draft: Draft) -> bool:
    """Return whether the draft is the user's own leave, rejected invite or withdrawn knock."""
    membership = draft.content.get("membership")
    return draft.type == MEMBER and membership == "leave" and draft.state_key == draft.sender
