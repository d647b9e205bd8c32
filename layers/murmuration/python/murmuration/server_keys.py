"""This server's own signing key, from its secret parameter."""

from __future__ import annotations

import functools
from hashlib import blake2b
from typing import TYPE_CHECKING

from murmuration.settings import settings
from murmuration.storage.parameters import read_secret

if TYPE_CHECKING:
    from murmuration.protocol.signing import SigningKey

PARAMETER = "signing-key"


def parse_signing_key(text: str) -> SigningKey:
    """The key written as `ed25519 <version> <seed in unpadded base64>`. Raises ValueError."""
    from murmuration.protocol import unpadded_base64
    from murmuration.protocol.signing import SigningKey

    algorithm, version, seed = text.split()
    if algorithm != "ed25519":
        raise ValueError(f"signing keys are ed25519, not {algorithm}")
    return SigningKey(unpadded_base64.decode(seed), version)


@functools.cache
def signing_key() -> SigningKey:
    """The key that signs events and requests."""
    return parse_signing_key(_read())


@functools.cache
def derived_key(purpose: str) -> bytes:
    """A secret for another purpose than signing; 32 bytes, from which the signing key can't be told."""
    return blake2b(_read().encode(), person=purpose.encode(), digest_size=32).digest()


def _read() -> str:
    return read_secret(settings().parameter(PARAMETER))
