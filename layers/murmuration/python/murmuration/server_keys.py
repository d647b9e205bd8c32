"""This server's signing keys, from their secret parameter.

The parameter has a line for each key: `ed25519 <version> <seed in unpadded base64>`, the current key first.
The line of a former key ends with the time when it ceased to be used, in milliseconds since the Unix epoch.
"""

from __future__ import annotations

import functools
from hashlib import blake2b
from typing import TYPE_CHECKING

from murmuration.aws.parameters import forget, read_secret
from murmuration.clock import now_ms
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.protocol.pdus.signing import SigningKey

PARAMETER = "signing-key"
WARM_MS = 24 * 3600 * 1000
"""How long after a rotation a former key counts as current: running functions use it until they end."""


def parse_signing_key(text: str) -> SigningKey:
    """Return the key in one line. Raises ValueError."""
    from murmuration.protocol.encoding import unpadded_base64
    from murmuration.protocol.pdus.signing import SigningKey

    algorithm, version, seed = text.split()[:3]
    if algorithm != "ed25519":
        raise ValueError(f"signing keys are ed25519, not {algorithm}")
    return SigningKey(unpadded_base64.decode(seed), version)


FRESH_MS = 5 * 60 * 1000
"""The maximum age of the published keys: after a rotation other servers must soon find the new one."""
_renewed_ms = 0


def renew() -> None:
    """Make the next use read the keys again, unless they were read in the last five minutes."""
    global _renewed_ms
    now = now_ms()
    if now - _renewed_ms > FRESH_MS:
        _renewed_ms = now
        forget()
        signing_key.cache_clear()


@functools.cache
def signing_key() -> SigningKey:
    """Return the key that signs events and requests."""
    return parse_signing_key(_read().splitlines()[0])


def former_keys() -> list[tuple[SigningKey, int]]:
    """Return the former keys, the latest first, each with the time when it ceased to be used
    (milliseconds).
    """
    return [(parse_signing_key(line), int(line.split()[3])) for line in _read().splitlines()[1:]]


def new_line() -> str:
    """Return the line of a new key."""
    import secrets

    from murmuration.protocol.encoding import unpadded_base64

    seed = unpadded_base64.encode(secrets.token_bytes(32))
    return f"ed25519 a_{secrets.token_hex(3)} {seed}"


def rotated(text: str, line: str, now_ms: int) -> str:
    """Return the parameter's value `text` with the key of `line` as the current key. Raises ValueError."""
    current, *former = text.splitlines()
    parse_signing_key(current)
    return "\n".join([line, f"{current} {now_ms + WARM_MS}", *former])


@functools.cache
def derived_key(purpose: str) -> bytes:
    """Return a secret for a purpose other than signing: 32 bytes that don't reveal the signing key.

    It is derived from the oldest key, so a rotation doesn't change it.
    """
    first = " ".join(_read().splitlines()[-1].split()[:3])
    return blake2b(first.encode(), person=purpose.encode(), digest_size=32).digest()


def _read() -> str:
    return read_secret(settings().parameter(PARAMETER))
