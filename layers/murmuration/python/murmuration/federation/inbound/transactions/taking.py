"""Accepts a transaction and queues its PDUs by room. It asks no other server, and waits for nothing.

The answer names the events that were queued, and those of rooms whose ACL denies the sender, with an error.
What was queued is checked later, and a rejected or malformed PDU must not make the sender repeat the rest.
Transaction IDs aren't stored, because each PDU is recognised by its event ID.
https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.aws.reads import fetch_all
from murmuration.federation.inbound import acls
from murmuration.federation.inbound.transactions import counting, queueing
from murmuration.federation.inbound.transactions.edus import take_edus
from murmuration.identity import rate_limits
from murmuration.protocol.encoding.shapes import Answer, Content
from murmuration.protocol.errors import BadJson, MatrixError, TooLarge
from murmuration.protocol.event_types import MEMBER, SERVER_ACL
from murmuration.protocol.identifiers import EventId, RoomId, ServerName
from murmuration.protocol.pdus.event_format import parse_pdu
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.room import Room, prefetch
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.member_index import is_local_id

if TYPE_CHECKING:
    from murmuration.federation.shapes import PduResult

DENIED = "The room's access control list denies your server"
MOST_PDUS = 50
MOST_EDUS = 100
MOST_BYTES = 4_718_592
"""A function's event has at most 6 MB, and the body is encoded in Base64."""


def take_transaction(origin: ServerName, content: Content, size: int) -> Answer:
    """Queue the contents of a transaction; `size` is the body's size in bytes.

    Takes three round trips at most, and a message for each room. Raises TooLarge, BadJson, LimitExceeded.
    """
    if size > MOST_BYTES:
        counting.count("too_large", 1, origin)
        raise TooLarge(f"A transaction may have {MOST_BYTES} bytes")
    pdus = _list(content, "pdus", MOST_PDUS)
    edus = _list(content, "edus", MOST_EDUS)
    results: dict[EventId, PduResult] = {}
    if pdus:
        rate_limits.check("federation_pdu", origin, len(pdus))
        results = _queue(origin, pdus)
    take_edus(origin, edus)
    return {"pdus": results}


def _list(content: Content, name: str, most: int) -> list[object]:
    value = content.get(name, [])
    if not isinstance(value, list):
        raise BadJson(f"{name} must be a list")
    if len(value) > most:
        raise BadJson(f"A transaction has at most {most} {name}")
    return value


def _queue(origin: ServerName, pdus: list[object]) -> dict[EventId, PduResult]:
    """Queue PDUs. Returns the results of those whose event IDs are known: none for a PDU of a room that this
    server isn't in, or without the format of its room's version.
    """
    by_room: dict[RoomId, list[object]] = {}
    malformed = 0
    for pdu in pdus:
        room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
        # A create event without a room ID begins a new room, and this server would be in it already.
        if isinstance(room_id, str) and _is_text(room_id) and fits_id(room_id):
            by_room.setdefault(RoomId(room_id), []).append(pdu)
        else:
            malformed += 1
    heads = fetch_all([room_items.head_read(room_id) for room_id in by_room])
    rooms = [Room(head) for head in heads if head is not None and head.is_resident]
    denying = _denying(origin, rooms)
    refused = [_event_id(pdu, room) for room in denying for pdu in by_room.pop(room.room_id)]
    wanted = _wanted(by_room, {room.room_id for room in rooms})
    queued: list[EventId] = []
    for room in rooms:
        if room.room_id in wanted:
            named = [(pdu, _event_id(pdu, room)) for pdu in wanted[room.room_id]]
            malformed += sum(event_id is None for _, event_id in named)
            wanted[room.room_id] = [pdu for pdu, event_id in named if event_id is not None]
            queued += [event_id for _, event_id in named if event_id is not None]
    malformed += queueing.put(origin, wanted)
    counting.count("malformed", malformed, origin)
    counting.count("denied_by_acl", len(refused), origin)
    counting.count("not_our_room", _number(by_room) - _number(wanted), origin)
    results: dict[EventId, PduResult] = {event_id: {} for event_id in queued}
    return results | {event_id: {"error": DENIED} for event_id in refused if event_id is not None}


def _denying(origin: ServerName, rooms: Sequence[Room]) -> list[Room]:
    """Return the rooms whose ACL denies a server. One round trip for states that the process hasn't cached.

    https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
    """
    prefetch(rooms, [(SERVER_ACL, "")])
    return [room for room in rooms if not acls.is_allowed(room, origin)]


def _event_id(pdu: object, room: Room) -> EventId | None:
    """Return the ID of an event; None if the PDU hasn't the format of the room's version."""
    try:
        return parse_pdu(pdu, room.version).event_id
    except MatrixError:
        return None


def _number(by_room: Mapping[RoomId, list[object]]) -> int:
    return sum(map(len, by_room.values()))


def _wanted(by_room: Mapping[RoomId, list[object]], ours: Collection[RoomId]) -> dict[RoomId, list[object]]:
    """Return the PDUs of rooms that this server is in or that end an invite of a local user."""
    wanted: dict[RoomId, list[object]] = {}
    for room_id, pdus in by_room.items():
        some = pdus if room_id in ours else [pdu for pdu in pdus if ends_an_invite(pdu)]
        if some:
            wanted[room_id] = some
    return wanted


def ends_an_invite(pdu: object) -> bool:
    """Return whether a PDU may end an invite or a knock of a local user."""
    if not isinstance(pdu, dict) or pdu.get("type") != MEMBER:
        return False
    content, user_id = pdu.get("content"), pdu.get("state_key")
    if not isinstance(content, dict) or content.get("membership") not in ("leave", "ban"):
        return False
    return is_local_id(user_id)


def _is_text(text: str) -> bool:
    """Return whether a string has no lone surrogate, which can't be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
