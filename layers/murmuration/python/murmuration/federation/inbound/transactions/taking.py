"""Accepts a transaction: its PDUs are queued by room. It asks no other server and waits for nothing.

The answer has no errors for single PDUs: a rejected or broken one must not make the sender repeat the others.
Transaction IDs needn't be remembered, because each PDU is recognised by its event ID.
https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from murmuration.aws.reads import fetch_all
from murmuration.federation.inbound.transactions import counting, queueing
from murmuration.federation.inbound.transactions.edus import take_edus
from murmuration.identity import rate_limits
from murmuration.protocol.encoding.shapes import Answer, Content
from murmuration.protocol.errors import BadJson, TooLarge
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.rooms.lookup import fits_id
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.member_index import is_local_id

MOST_PDUS = 50
MOST_EDUS = 100
MOST_BYTES = 4_718_592
"""A function's event has at most 6 MB, and the body is encoded in Base64."""


def take_transaction(origin: ServerName, content: Content, size: int) -> Answer:
    """Queue the contents of a transaction; `size` is the body's size in bytes.

    Takes two round trips, and a message for each room. Raises TooLarge, BadJson, LimitExceeded.
    """
    if size > MOST_BYTES:
        counting.count("too_large", 1, origin)
        raise TooLarge(f"A transaction may have {MOST_BYTES} bytes")
    pdus = _list(content, "pdus", MOST_PDUS)
    edus = _list(content, "edus", MOST_EDUS)
    if pdus:
        rate_limits.check("federation_pdu", origin, len(pdus))
        _queue(origin, pdus)
    take_edus(origin, edus)
    return {"pdus": {}}


def _list(content: Content, name: str, most: int) -> list[Any]:
    value = content.get(name, [])
    if not isinstance(value, list):
        raise BadJson(f"{name} must be a list")
    if len(value) > most:
        raise BadJson(f"A transaction has at most {most} {name}")
    return value


def _queue(origin: ServerName, pdus: list[Any]) -> None:
    by_room: dict[RoomId, list[Any]] = {}
    malformed = 0
    for pdu in pdus:
        room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
        # A create event without a room ID begins a new room, and this server would be in it already.
        if isinstance(room_id, str) and _is_text(room_id) and fits_id(room_id):
            by_room.setdefault(RoomId(room_id), []).append(pdu)
        else:
            malformed += 1
    wanted, unwanted = _wanted(by_room)
    malformed += queueing.put(origin, wanted)
    counting.count("malformed", malformed, origin)
    counting.count("not_our_room", unwanted, origin)


def _wanted(by_room: Mapping[RoomId, list[Any]]) -> tuple[dict[RoomId, list[Any]], int]:
    """Return the PDUs of rooms that this server is in or that end an invite of a local user, and the number
    of the others.
    """
    heads = fetch_all([room_items.head_read(room_id) for room_id in by_room])
    wanted: dict[RoomId, list[Any]] = {}
    for (room_id, pdus), head in zip(by_room.items(), heads, strict=True):
        ours = head is not None and head.is_resident
        some = pdus if ours else [pdu for pdu in pdus if ends_an_invite(pdu)]
        if some:
            wanted[room_id] = some
    return wanted, sum(map(len, by_room.values())) - sum(map(len, wanted.values()))


def ends_an_invite(pdu: Any) -> bool:
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
