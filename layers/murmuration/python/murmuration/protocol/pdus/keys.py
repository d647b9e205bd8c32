"""Servers' published keys: the key document, and when each of its keys is valid.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.protocol.encoding import unpadded_base64
from murmuration.protocol.errors import BadJson
from murmuration.protocol.identifiers import ServerName, is_valid_server_name
from murmuration.protocol.pdus.signing import (
    ALGORITHM,
    InvalidSignature,
    SigningKey,
    key_ids_of,
    sign_json,
    verify_json,
)
from murmuration.protocol.room_versions import RoomVersion

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject
    from murmuration.protocol.pdus.shapes import KeyDocument

MAX_VALIDITY_MS = 7 * 24 * 60 * 60 * 1000
"""How long a key is trusted at most after it was received, whatever its document says."""

_PUBLIC_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A server's public key (32 bytes). Exactly one of the two times is set.

    `valid_until_ts` is the end of a current key's validity, with the limit of seven days already applied.
    `expired_ts` is when a former key ceased to be used. Both are in milliseconds since the epoch.
    """

    key_id: str
    public_key: bytes
    valid_until_ts: int | None = None
    expired_ts: int | None = None

    def may_sign_event(self, origin_server_ts: int, version: RoomVersion) -> bool:
        """Return whether a signature with this key counts on an event of that time.

        A former key counts for events until it expired. A current key counts until `valid_until_ts`, which
        room versions 1 to 4 ignore. https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period
        """
        if self.expired_ts is not None:
            return origin_server_ts <= self.expired_ts
        return not version.enforce_key_validity or origin_server_ts <= (self.valid_until_ts or 0)

    def may_sign_request(self, now_ms: int) -> bool:
        """Return whether a federation request signed with this key may be accepted now. Former keys are never
        accepted.
        """
        return self.valid_until_ts is not None and now_ms <= self.valid_until_ts


KeyRing = Mapping[tuple[ServerName, str], VerifyKey]
"""Known keys by (server name, key ID)."""


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """A server's key document, checked. `valid_until_ts` has the limit of seven days already applied."""

    server_name: ServerName
    verify_keys: Mapping[str, VerifyKey]
    old_verify_keys: Mapping[str, VerifyKey]
    valid_until_ts: int

    def get(self, key_id: str) -> VerifyKey | None:
        """Return the key with this ID, current or former; None if there is none."""
        return self.verify_keys.get(key_id) or self.old_verify_keys.get(key_id)


def parse_server_keys(document: object, server_name: ServerName, received_ms: int) -> ServerKeys:
    """Check a key document of `server_name`, received at `received_ms`, and return its keys.

    At least one of its `verify_keys` must have signed it, and no signature by one of them may be wrong. Keys
    of unknown algorithms are left out. Raises BadJson for a malformed document or another server's,
    InvalidSignature.
    """
    if not isinstance(document, dict) or document.get("server_name") != server_name:
        raise BadJson("The key document is not of the server asked for")
    if not is_valid_server_name(server_name):
        raise BadJson("The key document has no valid server name")
    valid_until_ts = min(_timestamp(document, "valid_until_ts"), received_ms + MAX_VALIDITY_MS)
    verify_keys = {
        key_id: VerifyKey(key_id, _public_key(entry), valid_until_ts=valid_until_ts)
        for key_id, entry in _entries(document, "verify_keys")
    }
    old_verify_keys = {
        key_id: VerifyKey(key_id, _public_key(entry), expired_ts=_timestamp(entry, "expired_ts"))
        for key_id, entry in _entries(document, "old_verify_keys", required=False)
    }
    signed_with = [key_id for key_id in key_ids_of(document, server_name) if key_id in verify_keys]
    if not signed_with:
        raise InvalidSignature("The key document is not signed with a key it lists")
    for key_id in signed_with:
        verify_json(document, server_name, key_id, verify_keys[key_id].public_key)
    return ServerKeys(server_name, verify_keys, old_verify_keys, valid_until_ts)


def build_server_keys(
    server_name: ServerName,
    signing_keys: Iterable[SigningKey],
    valid_until_ts: int,
    old_verify_keys: Iterable[VerifyKey] = (),
) -> KeyDocument:
    """Return this server's key document, signed with each of its current keys."""
    keys = list(signing_keys)
    document: KeyDocument = {
        "server_name": server_name,
        "valid_until_ts": valid_until_ts,
        "verify_keys": {key.key_id: {"key": key.public_base64} for key in keys},
        "old_verify_keys": {
            key.key_id: {"key": unpadded_base64.encode(key.public_key), "expired_ts": key.expired_ts}
            for key in old_verify_keys
        },
    }
    for key in keys:
        document = sign_json(document, server_name, key)
    return document


def _entries(document: JsonObject, name: str, *, required: bool = True) -> list[tuple[str, JsonObject]]:
    """Return the keys in a section of the document whose algorithm is known. Raises BadJson."""
    section = document.get(name)
    if section is None and not required:
        return []
    if not isinstance(section, dict):
        raise BadJson(f"The key document has no {name}")
    entries = [(key_id, entry) for key_id, entry in section.items() if key_id.startswith(f"{ALGORITHM}:")]
    if not all(isinstance(entry, dict) for _, entry in entries):
        raise BadJson(f"A key in {name} is not an object")
    return entries


def _public_key(entry: JsonObject) -> bytes:
    encoded = entry.get("key")
    try:
        public_key = unpadded_base64.decode(encoded) if isinstance(encoded, str) else b""
    except ValueError as error:
        raise BadJson("A public key is not Base64") from error
    if len(public_key) != _PUBLIC_KEY_BYTES:
        raise BadJson("A public key does not have 32 bytes")
    return public_key


def _timestamp(obj: JsonObject, name: str) -> int:
    value = obj.get(name)
    if type(value) is not int or value < 0:
        raise BadJson(f"{name} is not a time in milliseconds")
    return value
