"""Hashes passwords with scrypt. Each hash has its own salt and is stored with its parameters."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from base64 import b64decode, b64encode

from murmuration.protocol.errors import BadJson, InvalidParam, MissingParam, WeakPassword
from murmuration.settings import settings

MAX_LENGTH = 512
BLOCK_SIZE = 8
PASSES = 5
MEMORY_LIMIT = 256 * 1024 * 1024
"""scrypt's r, p and maximum memory in bytes. Its N is 2 to the power of `settings().password_cost`."""


def parse_password(value: object) -> str:
    """Return a password from a request's body. Raises MissingParam, BadJson, InvalidParam."""
    if value is None:
        raise MissingParam("password is missing")
    if not isinstance(value, str):
        raise BadJson("password must be a string")
    if len(value) > MAX_LENGTH:
        raise InvalidParam(f"A password has at most {MAX_LENGTH} characters")
    return value


def parse_new_password(value: object) -> str:
    """Return a new password from a request's body. Raises what `parse_password` raises; WeakPassword for
    an empty one.
    """
    password = parse_password(value)
    if not password:
        raise WeakPassword("The password must not be empty")
    return password


def hash_password(password: str) -> str:
    """Return the hash of a password for storage: `scrypt$<log2 N>$<r>$<p>$<salt>$<hash>`."""
    return _render(password, settings().password_cost, BLOCK_SIZE, PASSES, secrets.token_bytes(16))


def matches(password: str, password_hash: str | None) -> bool:
    """Return whether `password` matches `password_hash`, compared in constant time.

    Without a hash it takes the same time, so the time doesn't show whether the account exists.
    """
    if password_hash is None:
        hash_password(password)
        return False
    _, cost, block_size, passes, salt, _ = password_hash.split("$")
    made = _render(password, int(cost), int(block_size), int(passes), b64decode(salt))
    return hmac.compare_digest(made, password_hash)


def _render(password: str, cost: int, block_size: int, passes: int, salt: bytes) -> str:
    # Different keyboards may send the same password in different Unicode normal forms.
    secret = unicodedata.normalize("NFKC", password).encode()
    digest = hashlib.scrypt(
        secret, salt=salt, n=2**cost, r=block_size, p=passes, maxmem=MEMORY_LIMIT, dklen=32
    )
    fields = (cost, block_size, passes, b64encode(salt).decode(), b64encode(digest).decode())
    return "$".join(("scrypt", *map(str, fields)))
