"""Ed25519 signatures of JSON objects and events. https://spec.matrix.org/v1.19/appendices/#signing-json

Keys and signatures are raw bytes here, and unpadded Base64 inside the objects. PyNaCl is imported when the
first signature is made or checked, not with this module. Its libsodium takes half the time of OpenSSL. It
refuses points of small order and encodings that aren't canonical, about which implementations of Ed25519
differ. So signatures that are valid here are the same as on other servers that use libsodium.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from murmuration.protocol.encoding import canonical_json, unpadded_base64
from murmuration.protocol.errors import BadJson, Forbidden
from murmuration.protocol.identifiers import ServerName, UserId, is_valid_server_key_id
from murmuration.protocol.pdus.redaction import redact
from murmuration.protocol.room_versions import RoomVersion

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject
    from murmuration.protocol.pdus.shapes import HashedPdu, Pdu

Object = TypeVar("Object", bound=Mapping[str, Any])

ALGORITHM = "ed25519"
_SEED_BYTES = 32
_SIGNATURE_BYTES = 64
_UNSIGNED_KEYS = ("signatures", "unsigned")


class InvalidSignature(Forbidden):
    """An object or event lacks a required signature, or has a wrong one."""


class SigningKey:
    """A server's Ed25519 key pair. `key_id` is "ed25519:" and a version of letters, digits and
    underscores.
    """

    __slots__ = ("_private_key", "key_id", "public_key")

    def __init__(self, seed: bytes, version: str) -> None:
        """Make a key from the 32-byte `seed`. `version` is the part of its ID after the colon. Raises
        ValueError.
        """
        from nacl.bindings import crypto_sign_seed_keypair

        self.key_id = f"{ALGORITHM}:{version}"
        if len(seed) != _SEED_BYTES:
            raise ValueError("An Ed25519 seed has 32 bytes")
        if not is_valid_server_key_id(self.key_id):
            raise ValueError("A key version has only letters, digits and underscores")
        self.public_key: bytes
        self._private_key: bytes
        self.public_key, self._private_key = crypto_sign_seed_keypair(seed)

    @property
    def public_base64(self) -> str:
        """The public key in the form of server key documents."""
        return unpadded_base64.encode(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""
        from nacl.bindings import crypto_sign

        return crypto_sign(message, self._private_key)[:_SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r}, public {self.public_base64!r})"


def sign_json(obj: Object, server_name: ServerName, key: SigningKey) -> Object:
    """Return a copy of `obj` with the signature added. The copy shares nested values other than signatures
    with `obj`.

    Raises BadJson if the object has no canonical JSON.
    """
    return _with_signature(obj, server_name, key, _signed_bytes(obj, strict=True))


def verify_json(obj: JsonObject, server_name: ServerName | UserId, key_id: str, public_key: bytes) -> None:
    """Check one signature of an object by one key of one server (or user). Raises InvalidSignature.

    https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
    """
    _verify(obj, server_name, key_id, public_key, strict=True)


def sign_event(pdu: HashedPdu, server_name: ServerName, key: SigningKey, version: RoomVersion) -> Pdu:
    """Return a copy of `pdu` with a signature of its redacted form added. `pdu` must have its `hashes`
    already.

    It can also sign an event of another server (an invite, a restricted join): nothing else is changed.
    """
    message = _signed_bytes(redact(pdu, version), strict=version.strict_canonical_json)
    return cast("Pdu", _with_signature(pdu, server_name, key, message))


def verify_event(
    pdu: JsonObject, server_name: ServerName, key_id: str, public_key: bytes, version: RoomVersion
) -> None:
    """Check one signature of an event's redacted form. Raises InvalidSignature.

    `validation.check_signatures` decides which servers must have signed, and which keys may be used.
    """
    _verify(redact(pdu, version), server_name, key_id, public_key, strict=version.strict_canonical_json)


def key_ids_of(obj: JsonObject, server_name: ServerName | UserId) -> list[str]:
    """Return the key IDs, of known algorithms, of the signatures in `obj` that claim to be the server's."""
    signatures = obj.get("signatures")
    by_server = signatures.get(server_name) if isinstance(signatures, dict) else None
    if not isinstance(by_server, dict):
        return []
    return [key_id for key_id in by_server if key_id.startswith(ALGORITHM + ":")]


def _signed_bytes(obj: JsonObject, *, strict: bool) -> bytes:
    covered = {key: value for key, value in obj.items() if key not in _UNSIGNED_KEYS}
    return canonical_json.encode(covered, strict=strict)


def _with_signature(obj: Object, server_name: ServerName, key: SigningKey, message: bytes) -> Object:
    signatures = dict(obj.get("signatures", {}))
    signature = unpadded_base64.encode(key.sign(message))
    signatures[server_name] = {**signatures.get(server_name, {}), key.key_id: signature}
    return cast("Object", {**obj, "signatures": signatures})


def _verify(
    obj: JsonObject, server_name: ServerName | UserId, key_id: str, public_key: bytes, *, strict: bool
) -> None:
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import CryptoError

    encoded = obj["signatures"][server_name][key_id] if key_id in key_ids_of(obj, server_name) else None
    if not isinstance(encoded, str):
        raise InvalidSignature(f"There is no signature by {server_name} with {key_id}")
    try:
        signature = unpadded_base64.decode(encoded)
        if len(signature) != _SIGNATURE_BYTES:
            raise ValueError("An Ed25519 signature has 64 bytes")
        crypto_sign_open(signature + _signed_bytes(obj, strict=strict), public_key)
    except (ValueError, BadJson, CryptoError) as error:
        raise InvalidSignature(f"The signature by {server_name} with {key_id} is not valid") from error
