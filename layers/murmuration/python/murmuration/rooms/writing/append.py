"""Appending events of this server to a room: built, authorised and written in one transaction.

A writer that lost a race reads the room again and makes its plan anew.
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
from murmuration.protocol.identifiers import RoomId, UserId
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
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import DUMMY_EVENT, LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content
    from murmuration.protocol.pdus.building import EventParts
    from murmuration.protocol.pdus.shapes import Pdu, UnsignedPdu

T = TypeVar("T")
ATTEMPTS = 60
MAX_STATE_BYTES = 2_000_000
"""What the state of a room may have, without its members, for events of this server to add to it."""
MAX_MEMBER_BYTES = 8_192
"""What the content of a membership event of this server may have."""
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
"""State that is taken even by a room whose state has all the bytes that it may have."""
EXTREMITIES_LIMIT = 10
"""How many of the room's newest events a new one may follow; the others are left for the next."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be: what its sender decides of it.

    `device_id` and `txn_id` are the sending client's, `delay_id` is that of a delayed event.
    """

    type: str
    sender: str
    content: Content
    state_key: str | None = None
    redacts: str | None = None
    origin_server_ts: int | None = None
    device_id: str | None = None
    txn_id: str | None = None
    delay_id: str | None = None


@dataclass
class Append(Changes):
    """New events of this server on top of a room, growing until they're committed together."""

    signed: dict[int, tuple[NodeId, Event]] = field(default_factory=dict)
    """Events that another server signed in an earlier attempt, by their place in the batch, with the state
    before."""

    def add(self, draft: Draft) -> Event:
        """Build and authorise the next event.

        Raises Forbidden by the auth rules, MalformedEvent, TooLarge, BadJson, NotFound where this server's
        knowledge of the room is stale: somebody else's server has to help. Only leaving needs nobody's help.
        Raises what the room's policy server, or the server of the user whom it invites, refuses the event
        with; BadGateway if one of them gives no answer.
        """
        event, state = self._authorised(draft)
        event = self._signed_elsewhere(event, state, invites=True)
        self._take(event, draft, visibility_by(state.get(HISTORY_VISIBILITY_KEY)))
        return event

    def offer(self, draft: Draft) -> Event:
        """The next event, signed as by `add`, but not by an invited user's server; nothing is added.

        Raises what `add` does.
        """
        event, state = self._authorised(draft)
        return self._signed_elsewhere(event, state, invites=False)

    def check(self, draft: Draft) -> None:
        """Raise what `add` would raise, but add nothing.

        A request that would change nothing is checked by it: somebody who may not send the event is refused.
        """
        self._authorised(draft)

    def propose(self, draft: Draft) -> UnsignedPdu:
        """The PDU of the next event, to be completed and signed by its sender's server; nothing is added.

        Raises Forbidden by the auth rules, NotFound where this server's knowledge of the room is stale.
        """
        parts, state = self._parts(draft)
        pdu = unsigned_pdu(room_version=self.version, **parts)
        auth_rules.check_auth(Event(cast("Pdu", pdu), self.version, "$proposed"), state, template=True)
        return pdu

    def _signed_elsewhere(self, event: Event, state: Mapping[StateKey, Event], *, invites: bool) -> Event:
        """The event, signed by the room's policy server if there is one, and by that of an invited user.

        What they signed in an attempt that lost a race is taken as it is, if the state is still the same: the
        event then is one of several newest. Else a busy room would ask again and again.
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
        """The next event, not yet added, and the state that it was judged by."""
        if draft.type == TOMBSTONE and self.room_id and draft.content.get("replacement_room") == self.room_id:
            raise MalformedEvent("A room can't be replaced by itself")
        parts, state = self._parts(draft)
        if self.version.server_assigned_event_ids:
            parts["event_id"] = f"${secrets.token_urlsafe(18)}:{settings().server_name}"
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
        """What the next event is made of, and the state that authorises it."""
        if self.room is not None and self.room.head.is_stale and not _is_leaving(draft):
            raise NotFound("Nobody of this server is in the room any more, and it goes on elsewhere")
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
            "sender": UserId(draft.sender),
            "content": dict(draft.content),
            "state_key": draft.state_key,
            "room_id": RoomId(self.room_id) if self.room_id else None,
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
        """Refuse state that is too much for the answers that have all of it. Raises TooLarge.

        What rules the room isn't refused: it must be possible to calm a room that somebody filled.
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

    def _position(self) -> tuple[list[str], int]:
        if self.entries:
            last = self.entries[-1].event
            return [last.event_id], last.depth + 1
        if self.room is not None:
            return _to_follow(self.room.head.extremities), self.room.head.depth + 1
        return [], 1

    def _reference_hashes(self, prev_events: Sequence[str], auth_events: Sequence[Event]) -> dict[str, bytes]:
        """The hashes of the events referred to, which room versions 1 and 2 want besides."""
        at_hand = {
            event.event_id: event for event in (*auth_events, *(entry.event for entry in self.entries))
        }
        missing = [event_id for event_id in prev_events if event_id not in at_hand]
        at_hand |= room_items.read_events(missing, self.version, self.room_id)
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


def append(room_id: str, plan: Callable[[Append], T], *, room: Room | None = None) -> T:
    """Carry out `plan` on the room as it is, again after each lost race; what `plan` returned.

    `room` spares the first reading of the head. A plan that adds no event writes nothing. Raises NotFound for
    an unknown room, ConditionFailed where a write that the plan added refuses, Unavailable when the room
    stays contended.
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
    raise Unavailable("The room is too busy; try again")


def append_known(room_id: str, plan: Callable[[Append], T]) -> T:
    """`append` for one who must be in the room: an unknown room answers as one that they aren't in."""
    try:
        room = Room.load(room_id)
    except NotFound as error:
        raise unknown_room(room_id) from error
    return append(room_id, plan, room=room)


def _to_follow(extremities: Sequence[str]) -> list[str]:
    """Which of a room's newest events the next one follows: where there are many, the first and the last.

    So an event follows what its sender saw last, and none is left out for ever.
    """
    half = EXTREMITIES_LIMIT // 2
    if len(extremities) <= EXTREMITIES_LIMIT:
        return list(extremities)
    return [*extremities[:half], *extremities[-half:]]


def _is_alike(earlier: Event, event: Event, place: int) -> bool:
    """Whether an event of an earlier attempt may stand for this one.

    It says the same and cites the same authority; only the first may follow other events.
    """
    compared = ["type", "sender", "state_key", "content", "redacts", "auth_events"]
    if place:
        compared.append("prev_events")
    return all(earlier.pdu.get(name) == event.pdu.get(name) for name in compared)


def _is_leaving(draft: Draft) -> bool:
    """Whether somebody leaves by themselves: rejects an invite, or takes a knock back."""
    membership = draft.content.get("membership")
    return draft.type == MEMBER and membership == "leave" and draft.state_key == draft.sender
