"""The format of a PDU in each room version, and the size limits.

https://spec.matrix.org/v1.19/rooms/ and https://spec.matrix.org/v1.19/client-server-api/#size-limits

Everything that can be wrong about the form of another server's event is found here, so that later code can
read an `Event` without checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import BadJson, TooLarge
from murmuration.protocol.event_types import CREATE
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import is_valid_event_id, is_valid_room_id, is_valid_user_id
from murmuration.protocol.room_versions import RoomVersion

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject
    from murmuration.protocol.pdus.shapes import Pdu

MAX_PDU_BYTES = 65_536
"""The maximum size of the whole event in canonical JSON, with signatures. `unsigned` doesn't count: it isn't
stored, and each server writes its own, so that one server's `unsigned` must not make another drop the
event."""
MAX_FIELD_BYTES = 255
"""The maximum size of `type` and `state_key` in UTF-8. `sender`, `room_id` and `event_id` have the same limit
as identifiers."""
MAX_PREV_EVENTS = 20
MAX_AUTH_EVENTS = 10

_REQUIRED: dict[str, type] = {
    "type": str,
    "sender": str,
    "content": dict,
    "depth": int,
    "origin_server_ts": int,
    "hashes": dict,
    "signatures": dict,
    "prev_events": list,
    "auth_events": list,
}


def max_depth(version: RoomVersion) -> int:
    """Return the greatest `depth`. Once a room has reached it, all further events have it."""
    return canonical_json.MAX_INTEGER if version.strict_canonical_json else 2**63 - 1


def parse_pdu(pdu: object, version: RoomVersion, *, limit_references: bool = True) -> Event:
    """Return the event that another server sent, if its format is right. Raises BadJson or TooLarge.

    `unsigned` is left out, because no signature covers it.
    """
    event_pdu = check_format(pdu, version, limit_references=limit_references)
    return Event(sendable(event_pdu), version)


def sendable(pdu: Pdu) -> Pdu:
    """Return a PDU in the form for other servers: without `unsigned`, which is for this server's clients."""
    return cast("Pdu", {key: value for key, value in pdu.items() if key != "unsigned"})


def check_format(pdu: object, version: RoomVersion, *, limit_references: bool = True) -> Pdu:
    """Check a value against the version's event format, and return it. Raises BadJson, TooLarge.

    `unsigned` may be anything. `type` and `state_key` may have 255 characters here, because servers have
    accepted such events into rooms; `check_field_sizes` limits their bytes. Without `limit_references`, an
    event may refer to any number of events: old rooms have events with too many, which are allowed in answers
    to requests for older events.
    https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
    """
    if not isinstance(pdu, dict):
        raise BadJson("An event is an object")
    _check_types(pdu, version)
    _check_ids(pdu, version)
    _check_references(pdu, "prev_events", MAX_PREV_EVENTS if limit_references else None, version)
    _check_references(pdu, "auth_events", MAX_AUTH_EVENTS if limit_references else None, version)
    if len(pdu["type"]) > MAX_FIELD_BYTES or len(pdu.get("state_key", "")) > MAX_FIELD_BYTES:
        raise TooLarge("The event's type or state_key is too long")
    checked = cast("Pdu", pdu)
    if len(canonical_json.encode(sendable(checked), strict=version.strict_canonical_json)) > MAX_PDU_BYTES:
        raise TooLarge("The event is too large")
    return checked


def check_field_sizes(event: Event) -> None:
    """Raise TooLarge if `type` or `state_key` has more than 255 bytes."""
    for field in (event.type, event.state_key or ""):
        if not field.isascii() and len(field.encode()) > MAX_FIELD_BYTES:
            raise TooLarge("The event's type or state_key is too long")


def _check_types(pdu: JsonObject, version: RoomVersion) -> None:
    for key, kind in _REQUIRED.items():
        value = pdu.get(key)
        if type(value) is not kind and not (kind is int and _is_whole_float(value, version)):
            raise BadJson(f"The event has no {key} of the right type")
    if not 0 <= pdu["depth"] <= max_depth(version):
        raise BadJson("The event's depth is out of range")
    if not isinstance(pdu["hashes"].get("sha256"), str):
        raise BadJson("The event has no sha256 among its hashes")
    for by_key in pdu["signatures"].values():
        if not isinstance(by_key, dict) or not all(isinstance(value, str) for value in by_key.values()):
            raise BadJson("The event's signatures are malformed")
    optional_strings = ("state_key",) if version.redacts_in_content else ("state_key", "redacts")
    if not all(isinstance(pdu.get(key, ""), str) for key in optional_strings):
        raise BadJson("The event's state_key or redacts is not a string")


def _is_whole_float(value: object, version: RoomVersion) -> bool:
    """Return whether `value` is an integer written as a float, which versions before 6 allow."""
    return not version.strict_canonical_json and isinstance(value, float) and value.is_integer()


def _check_ids(pdu: JsonObject, version: RoomVersion) -> None:
    if not is_valid_user_id(pdu["sender"]):
        raise BadJson("The event's sender is not a user ID")
    if version.server_assigned_event_ids:
        event_id = pdu.get("event_id")
        if not isinstance(event_id, str) or not is_valid_event_id(event_id, version):
            raise BadJson("The event's event_id is not of its room version")
    elif "event_id" in pdu:
        # An ID in the PDU would be part of the hash that is the ID. Other servers drop such events, so no
        # event could follow it.
        raise BadJson("Events of this room version have no event_id")
    room_id = pdu.get("room_id")
    if version.create_event_is_room_id and pdu["type"] == CREATE and pdu.get("state_key") == "":
        return  # the authorisation rules reject a missing room_id
    if not isinstance(room_id, str) or not is_valid_room_id(room_id, version):
        raise BadJson("The event's room_id is not of its room version")


def _check_references(pdu: JsonObject, key: str, at_most: int | None, version: RoomVersion) -> None:
    references = pdu[key]
    if at_most is not None and len(references) > at_most:
        raise BadJson(f"The event has more than {at_most} {key}")
    is_reference = _is_id_and_hashes if version.server_assigned_event_ids else _is_hash_id
    if not all(is_reference(reference, version) for reference in references):
        raise BadJson(f"The event's {key} are malformed")


def _is_hash_id(reference: object, version: RoomVersion) -> bool:
    return isinstance(reference, str) and is_valid_event_id(reference, version)


def _is_id_and_hashes(reference: object, version: RoomVersion) -> bool:
    """Return whether a value is an [event ID, hashes] pair of room versions 1 and 2. The hashes
    aren't used.
    """
    return (
        isinstance(reference, list)
        and len(reference) == 2
        and _is_hash_id(reference[0], version)
        and isinstance(reference[1], dict)
    )
