"""The state that servers send each other with invites and knocks, which describes the room to the user.

Since version 1.16 of the specification these are whole events, so that the room can be identified by its
create event. Older servers send stripped state, with four keys an event.
https://spec.matrix.org/v1.19/client-server-api/#stripped-state
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, cast

from murmuration.federation.keys.fetching import verify_keys
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import BadJson, InvalidParam, MatrixError
from murmuration.protocol.event_types import CREATE, MEMBER
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import RoomId, UserId, is_valid_user_id
from murmuration.protocol.pdus.event_format import parse_pdu, sendable
from murmuration.protocol.pdus.hashing import verify_content_hash
from murmuration.protocol.pdus.validation import check_signatures, keys_to_look_up
from murmuration.protocol.room_versions import RoomVersion
from murmuration.rooms.reading.stripped_state import MAX_BYTES, STRIPPED_TYPES, size_of, strip

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import StrippedState, Untrusted
    from murmuration.protocol.pdus.shapes import Pdu

MOST_EVENTS = 100


def full_state(
    state: Callable[[Iterable[StateKey]], Mapping[StateKey, Event]], sender: UserId | None = None
) -> list[Pdu]:
    """Return the state that describes the room, as whole events: the create event first, and the membership
    of `sender`.
    """
    pairs = [(event_type, "") for event_type in STRIPPED_TYPES]
    if sender is not None:
        pairs.append((MEMBER, sender))
    found = state(pairs)
    events = [found[pair].pdu for pair in pairs if pair in found]
    return [sendable(pdu) for pdu in events]


def received_state(given: object, version: RoomVersion, room_id: RoomId) -> list[StrippedState]:
    """Return the stripped state for clients, from the events that another server sent with an invite or
    knock.

    If the room's ID is its create event's hash, the whole create event must be there and belong to the room.
    In other rooms stripped events are accepted unchecked. An event that claims to be whole is left out unless
    it belongs to the room and is signed correctly. At most `MAX_BYTES` are kept. Raises InvalidParam.
    """
    events = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    whole: list[Event] = []
    shown: list[StrippedState] = []
    for each in events[:MOST_EVENTS]:
        if "signatures" in each:
            event = _whole_event(each, version, room_id)
            if event is not None:
                whole.append(event)
        elif _is_stripped(each):
            kept = {name: each[name] for name in ("type", "state_key", "sender", "content")}
            shown.append(cast("StrippedState", kept))
    if whole:
        wanted = {key: event.origin_server_ts for event in whole for key in keys_to_look_up(event)}
        keys = verify_keys(wanted, urgent=True)
        for event in whole:
            try:
                check_signatures(event, keys)
            except MatrixError:
                continue
            if verify_content_hash(event.pdu):
                shown.append(strip(event))
    if version.create_event_is_room_id and not any(event.is_create for event in whole):
        raise InvalidParam("The room's whole m.room.create event must come along")
    return _bounded(shown)


def _whole_event(pdu: Untrusted, version: RoomVersion, room_id: RoomId) -> Event | None:
    try:
        event = parse_pdu(pdu, version)
    except MatrixError:
        return None
    return event if event.room_id == room_id and event.is_state else None


def _is_stripped(event: Untrusted) -> bool:
    sender, content = event.get("sender"), event.get("content")
    return (
        isinstance(content, dict)
        and _is_parsable(content)
        and all(isinstance(event.get(name), str) for name in ("type", "state_key"))
        and isinstance(sender, str)
        and is_valid_user_id(sender)
    )


def _is_parsable(content: Untrusted) -> bool:
    try:
        canonical_json.encode_parsable(content)
    except BadJson:
        return False
    return True


def _bounded(events: list[StrippedState]) -> list[StrippedState]:
    """Return one event for each piece of state, as many as fit, the create event among the first."""
    kept: dict[StateKey, StrippedState] = {}
    size = 0
    for event in sorted(events, key=lambda it: it["type"] != CREATE):
        pair = (event["type"], event["state_key"])
        if pair not in kept and size + size_of(event) <= MAX_BYTES:
            kept[pair] = event
            size += size_of(event)
    return list(kept.values())
