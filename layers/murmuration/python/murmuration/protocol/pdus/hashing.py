"""The content hash of the whole event, and the reference hash of its redacted form.

https://spec.matrix.org/v1.19/server-server-api/#signing-events
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from murmuration.protocol.encoding import canonical_json, unpadded_base64
from murmuration.protocol.errors import BadJson
from murmuration.protocol.identifiers import EventId
from murmuration.protocol.pdus.redaction import redact
from murmuration.protocol.room_versions import EventIDFormat, RoomVersion

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject

_OUTSIDE_CONTENT_HASH = frozenset({"unsigned", "signatures", "hashes"})
_OUTSIDE_REFERENCE_HASH = frozenset({"unsigned", "signatures"})


def content_hash(pdu: JsonObject) -> str:
    """Return the SHA-256 of the event without `unsigned`, `signatures` and `hashes`, in unpadded Base64.

    Raises BadJson if the event has no canonical JSON. `event_format.check_format` checks whether the room
    version allows its numbers.
    """
    return unpadded_base64.encode(_digest(pdu, _OUTSIDE_CONTENT_HASH))


def verify_content_hash(pdu: JsonObject) -> bool:
    """Return whether `hashes.sha256` is the event's content hash. False if it is missing or malformed."""
    hashes = pdu.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, dict) else None
    if not isinstance(claimed, str):
        return False
    try:
        return compare_digest(unpadded_base64.decode(claimed), _digest(pdu, _OUTSIDE_CONTENT_HASH))
    except (ValueError, BadJson):
        return False


def reference_hash(pdu: JsonObject, version: RoomVersion) -> bytes:
    """Return the SHA-256 of the redacted event without `signatures` and `unsigned`: 32 bytes.

    Raises BadJson if the event has no canonical JSON.
    """
    return _digest(redact(pdu, version), _OUTSIDE_REFERENCE_HASH)


def event_id_for(pdu: JsonObject, version: RoomVersion) -> EventId:
    """Return the event's ID: its `event_id` in room versions 1 and 2, else `$` and the encoded reference
    hash.

    Raises BadJson if it has no valid ID.
    """
    if version.event_id_format is EventIDFormat.SERVER_ASSIGNED:
        event_id = pdu.get("event_id")
        if not isinstance(event_id, str):
            raise BadJson("The event has no event_id")
        return EventId(event_id)
    digest = reference_hash(pdu, version)
    if version.event_id_format is EventIDFormat.HASH_STANDARD_B64:
        return EventId("$" + unpadded_base64.encode(digest))
    return EventId("$" + unpadded_base64.encode_urlsafe(digest))


def _digest(pdu: JsonObject, without: frozenset[str]) -> bytes:
    covered = {key: value for key, value in pdu.items() if key not in without}
    return sha256(canonical_json.encode(covered, strict=False)).digest()
