"""Keys and signatures as clients make them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from murmuration.protocol.encoding import canonical_json, unpadded_base64


@dataclass
class KeyPair:
    """An Ed25519 key pair; `key_id` ends with the device's ID, or with the public key itself."""

    device_id: str | None = None
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> str:
        return unpadded_base64.encode(self.private.public_key().public_bytes_raw())

    @property
    def key_id(self) -> str:
        return f"ed25519:{self.device_id or self.public}"

    def sign(self, user_id: str, obj: dict[str, Any], *, keep: bool = True) -> dict[str, Any]:
        """Return a copy of `obj` with this key's signature, beside those it has or instead of them."""
        signed = copy.deepcopy(obj)
        signatures = signed.pop("signatures", {})
        signature = self.private.sign(canonical_json.encode(signed))
        if not keep:
            signatures = {}
        signatures.setdefault(user_id, {})[self.key_id] = unpadded_base64.encode(signature)
        return {**signed, "signatures": signatures}


def device_keys(user_id: str, device_id: str, pair: KeyPair) -> dict[str, Any]:
    """Return a device's identity keys, signed by itself."""
    keys = {
        "user_id": user_id,
        "device_id": device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            f"curve25519:{device_id}": unpadded_base64.encode(b"c" * 32),
            f"ed25519:{device_id}": pair.public,
        },
    }
    return pair.sign(user_id, keys)


def one_time_keys(user_id: str, pair: KeyPair, names: list[str], *, fallback: bool = False) -> dict[str, Any]:
    """Return signed one-time or fallback keys, by their full IDs."""
    extra = {"fallback": True} if fallback else {}
    return {
        f"signed_curve25519:{name}": pair.sign(user_id, {"key": f"key-{name}", **extra}) for name in names
    }


@dataclass
class CrossSigning:
    """A user's three key pairs, and what is uploaded of them."""

    user_id: str
    master: KeyPair = field(default_factory=KeyPair)
    self_signing: KeyPair = field(default_factory=KeyPair)
    user_signing: KeyPair = field(default_factory=KeyPair)

    def key(self, purpose: str) -> dict[str, Any]:
        pair: KeyPair = getattr(self, purpose)
        key = {"user_id": self.user_id, "usage": [purpose], "keys": {pair.key_id: pair.public}}
        return key if purpose == "master" else self.master.sign(self.user_id, key)

    def body(self) -> dict[str, Any]:
        purposes = ("master", "self_signing", "user_signing")
        return {f"{purpose}_key": self.key(purpose) for purpose in purposes}
