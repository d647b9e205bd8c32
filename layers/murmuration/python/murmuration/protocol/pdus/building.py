"""Making this server's own events: PDUs in the room version's format, hashed and signed.

https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Required, TypedDict, Unpack, cast

from murmuration.protocol.encoding import unpadded_base64
from murmuration.protocol.events import Event
from murmuration.protocol.pdus.event_format import check_field_sizes, check_format, max_depth
from murmuration.protocol.pdus.hashing import content_hash
from murmuration.protocol.pdus.signing import SigningKey, sign_event
from murmuration.protocol.room_versions import RoomVersion

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content, JsonObject
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
    from murmuration.protocol.pdus.shapes import HashedPdu, Pdu, Reference, UnsignedPdu

    class EventParts(TypedDict, total=False):
        """The parts from which a new event is made. `origin_server_ts` is in milliseconds.

        `room_id` is None for a create event whose hash is to be the room's ID. Only room versions 1 and 2
        need `event_id` (chosen by the event's server) and, by event ID, the reference hash of each event that
        is referred to.
        """

        type: Required[str]
        sender: Required[UserId]
        content: Required[Content]
        room_id: Required[RoomId | None]
        prev_events: Required[Sequence[EventId]]
        auth_events: Required[Sequence[EventId]]
        depth: Required[int]
        origin_server_ts: Required[int]
        state_key: str | None
        redacts: str | None
        event_id: EventId | None
        reference_hashes: Mapping[str, bytes] | None


def build_event(
    *,
    room_version: RoomVersion,
    server_name: ServerName,
    signing_key: SigningKey,
    **parts: Unpack[EventParts],
) -> Event:
    """Return a complete event, hashed, signed, and checked against the format and the size limits.

    `parts` are those of `unsigned_pdu`. Raises TooLarge, or BadJson for content that the room version doesn't
    allow.
    """
    pdu = unsigned_pdu(room_version=room_version, **parts)
    return complete_event(pdu, server_name, signing_key, room_version)


def unsigned_pdu(*, room_version: RoomVersion, **parts: Unpack[EventParts]) -> UnsignedPdu:
    """Return an event without its hash and signatures, such as a template for another server to complete.

    `redacts` is put at the place that the room version defines. A depth beyond the version's limit is reduced
    to it.
    """
    content, redacts, hashes = parts["content"], parts.get("redacts"), parts.get("reference_hashes")
    if room_version.redacts_in_content and redacts is not None:
        content = {**content, "redacts": redacts}
    pdu: UnsignedPdu = {
        "type": parts["type"],
        "sender": parts["sender"],
        "content": content,
        "depth": min(parts["depth"], max_depth(room_version)),
        "origin_server_ts": parts["origin_server_ts"],
        "prev_events": _references(parts["prev_events"], hashes, room_version),
        "auth_events": _references(parts["auth_events"], hashes, room_version),
    }
    if (room_id := parts["room_id"]) is not None:
        pdu["room_id"] = room_id
    if (state_key := parts.get("state_key")) is not None:
        pdu["state_key"] = state_key
    if not room_version.redacts_in_content and redacts is not None:
        pdu["redacts"] = redacts
    if room_version.server_assigned_event_ids and (event_id := parts.get("event_id")) is not None:
        pdu["event_id"] = event_id
    return pdu


def complete_event(
    pdu: JsonObject, server_name: ServerName, signing_key: SigningKey, version: RoomVersion
) -> Event:
    """Hash and sign an event that is otherwise complete, such as a template from `make_join` with its
    content.

    A template's own `signatures` and `unsigned` are removed. Raises BadJson or TooLarge if the result doesn't
    have the version's format.
    """
    template = {key: value for key, value in pdu.items() if key not in ("signatures", "unsigned")}
    signed = hash_and_sign(cast("UnsignedPdu", template), server_name, signing_key, version)
    event = Event(check_format(signed, version), version)
    check_field_sizes(event)
    return event


def hash_and_sign(
    pdu: UnsignedPdu, server_name: ServerName, signing_key: SigningKey, version: RoomVersion
) -> Pdu:
    """Return a copy of `pdu` with its content hash, and with the server's signature in addition to any
    others.
    """
    hashed: HashedPdu = {**pdu, "hashes": {"sha256": content_hash(pdu)}}
    return sign_event(hashed, server_name, signing_key, version)


def _references(
    event_ids: Sequence[EventId], reference_hashes: Mapping[str, bytes] | None, version: RoomVersion
) -> list[Reference]:
    """Return references to `event_ids` in the form of the version's PDUs: IDs, or (ID, hashes) pairs."""
    if not version.server_assigned_event_ids:
        return list(event_ids)
    if reference_hashes is None:
        raise ValueError(f"Room version {version.id} refers to events by their reference hashes as well")
    return [
        [event_id, {"sha256": unpadded_base64.encode(reference_hashes[event_id])}] for event_id in event_ids
    ]
