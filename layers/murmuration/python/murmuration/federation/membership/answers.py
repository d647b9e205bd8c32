"""Checks the answer to send_join: the room that a server sends when one of our users joins through it.

Nothing in it is trusted. Each event must be signed, must have the right hash (or is redacted), and must be
allowed by its own auth events. An event that fails is left out, with all events that cite it. The remaining
state must allow the join.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.federation.inbound.auth_chains import authorising_ids, signing_times
from murmuration.federation.inbound.graph import ancestors_first
from murmuration.federation.keys.fetching import verify_keys
from murmuration.federation.requests.errors import Malformed
from murmuration.protocol.auth_rules import auth_state_types_of, check_auth
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.pdus.event_format import parse_pdu
from murmuration.protocol.pdus.keys import KeyRing
from murmuration.protocol.pdus.validation import (
    check_against_auth_events,
    check_authorising_signature,
    check_content_hash,
    check_signatures,
)
from murmuration.protocol.room_versions import RoomVersion

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Untrusted
    from murmuration.protocol.identifiers import EventId, RoomId

MOST_EVENTS = 300_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A room as it was before a join: its state, and all events in the answer that were accepted, by ID."""

    join: Event
    state: Mapping[StateKey, EventId]
    events: Mapping[EventId, Event]

    def joined(self) -> int:
        """Return how many members the room has."""
        return sum(1 for event_id in self.state.values() if self.events[event_id].membership == "join")


def check_answer(answer: Untrusted, join: Event) -> Entry:
    """Return the room in a server's answer, checked.

    Raises Malformed if it can't be the room that was joined, or if the server didn't sign a join that one of
    its users is said to authorise.
    """
    version, room_id = join.room_version, join.room_id
    given_state = _events(answer.get("state"), version, room_id)
    given = {**_events(answer.get("auth_chain"), version, room_id), **given_state}
    create = _creation(given_state.values(), version)
    join = _signed_join(answer.get("event"), join)
    keys = verify_keys(signing_times([*given.values(), join]))
    accepted = _accepted(given, keys)
    if create.event_id not in accepted:
        raise Malformed("The room's creation is not valid")
    try:
        check_authorising_signature(join, keys)
    except MatrixError as error:
        # Other servers in the room would reject the join, and then everything that the user does there.
        raise Malformed(f"No server has signed that the user may join: {error.message}") from error
    state: dict[StateKey, EventId] = {}
    for event_id in given_state:
        event = accepted.get(event_id)
        if event is not None and (pair := event.state_pair) is not None:
            state.setdefault(pair, event_id)
    around = {pair: accepted[state[pair]] for pair in auth_state_types_of(join) if pair in state}
    try:
        check_auth(join, around)
    except MatrixError as error:
        raise Malformed(
            f"The room's state, as the other server sent it, does not allow the join: {error.message}"
        ) from error
    return Entry(join, state, accepted)


def _events(given: object, version: RoomVersion, room_id: RoomId) -> dict[EventId, Event]:
    """Return, by ID, those events that belong to the room and have its version's format."""
    if not isinstance(given, list) or len(given) > MOST_EVENTS:
        raise Malformed("The answer has no list of events, or too many")
    found: dict[EventId, Event] = {}
    for pdu in given:
        try:
            event = parse_pdu(pdu, version, limit_references=False)
        except MatrixError:
            continue
        if event.room_id == room_id and event.is_state:
            found.setdefault(event.event_id, event)
    return found


def _creation(state: Iterable[Event], version: RoomVersion) -> Event:
    """Return the room's create event. Raises Malformed if there is none, or if its version or room
    differs.
    """
    created = [event for event in state if event.is_create]
    if len(created) != 1:
        raise Malformed("The state has no creation, or several")
    if created[0].content.get("room_version", "1") != version.id:
        raise Malformed("The room is of another version than the server said")
    return created[0]


def _signed_join(given: object, join: Event) -> Event:
    """Return the join with the signatures that others added, if the answer has exactly the event that was
    sent.
    """
    try:
        event = parse_pdu(given, join.room_version)
    except MatrixError:
        return join
    same = {key: value for key, value in event.pdu.items() if key != "signatures"} == {
        key: value for key, value in join.pdu.items() if key != "signatures"
    }
    if not same:
        return join
    signatures = {**event.pdu["signatures"], **join.pdu["signatures"]}
    return Event({**join.pdu, "signatures": signatures}, join.room_version, join.event_id)


def _accepted(events: Mapping[EventId, Event], keys: KeyRing) -> dict[EventId, Event]:
    """Return the valid events, by ID. An event is only valid if all events that authorise it are."""
    accepted: dict[EventId, Event] = {}
    for event in ancestors_first(events, authorising_ids):
        wanted = authorising_ids(event)
        around = {event_id: accepted[event_id] for event_id in wanted if event_id in accepted}
        if len(around) < len(set(wanted)):
            continue
        try:
            check_signatures(event, keys)
            checked = check_content_hash(event)
            check_against_auth_events(checked, around, (), keys)
        except MatrixError:
            continue
        accepted[event.event_id] = checked
    return accepted
