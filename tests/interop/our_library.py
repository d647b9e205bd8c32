"""Murmuration's protocol package behind the interfaces Synapse's library has here: one case feeds both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from murmuration.protocol.hashing import content_hash
from murmuration.protocol.room_versions import get_room_version
from murmuration.protocol.signing import SigningKey, sign_event, sign_json

from .cases.events import Pdu, Template
from .cases.keys import KEYS


def signing_key(server_name: str) -> SigningKey:
    return SigningKey(KEYS[server_name].seed, KEYS[server_name].version)


class OurSigner:
    """Signs with our functions."""

    def sign_json(self, value: dict[str, Any], server_name: str) -> dict[str, Any]:
        return sign_json(value, server_name, signing_key(server_name))

    def public_key(self, server_name: str) -> str:
        return signing_key(server_name).public_base64


def public_keys(server_names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(server name, key ID, public key) of each server."""
    keys = [(name, signing_key(name)) for name in server_names]
    return [(name, key.key_id, key.public_base64) for name, key in keys]


def hash_and_sign(version: str, template: Template) -> Pdu:
    """The template's PDU with its content hash, and a signature of each signer."""
    pdu = {**template.pdu, "hashes": {**template.pdu.get("hashes", {}), "sha256": content_hash(template.pdu)}}
    for server_name in template.signers:
        pdu = sign_event(pdu, server_name, signing_key(server_name), get_room_version(version))
    return pdu
