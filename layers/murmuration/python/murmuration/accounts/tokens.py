"""Access and refresh tokens: opaque to clients, they name the user and device they belong to.

So the row that proves a token can be read together with whatever else a request needs. The layout is
`<kind>_<localpart, base64url>.<device ID, base64url>.<secret>.<checksum>`: the checksum refuses garbage and
typing errors without a read; only the secret's hash is stored.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from murmuration.protocol.errors import UnknownToken
from murmuration.settings import settings

ACCESS = "mma"
REFRESH = "mmr"


@dataclass(frozen=True, slots=True)
class Requester:
    """Who makes a request: verified."""

    user_id: str
    device_id: str
    is_guest: bool = False
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token as presented: whose it claims to be, and the secret that has to prove it."""

    user_id: str
    device_id: str
    secret: str

    @classmethod
    def parse(cls, text: str, kind: str = ACCESS) -> AccessToken:
        """The token's claim. Raises UnknownToken where it can't be one of this server's."""
        body, _, checksum = text.rpartition(".")
        prefix, _, fields = body.partition("_")
        parts = fields.split(".")
        if prefix != kind or len(parts) != 3 or checksum != _checksum(body):
            raise UnknownToken("The access token is not known")
        try:
            localpart, device_id = (_decode(part) for part in parts[:2])
        except (ValueError, binascii.Error) as error:
            raise UnknownToken("The access token is not known") from error
        return cls(f"@{localpart}:{settings().server_name}", device_id, parts[2])

    @property
    def key(self) -> dict[str, str]:
        """The key in the table `users` of the device that the token claims to belong to."""
        return device_key(self.user_id, self.device_id)

    def matches(self, secret_hash: object) -> bool:
        """Whether `secret_hash`, as stored with the device, is this token's; in constant time."""
        return isinstance(secret_hash, str) and hmac.compare_digest(secret_hash, hash_secret(self.secret))


def device_key(user_id: str, device_id: str) -> dict[str, str]:
    """A device's key in the table `users`."""
    return {"user_id": user_id, "sk": f"device#{device_id}"}


def hash_secret(secret: str) -> str:
    """What is stored of a token's secret; 192 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    return secrets.token_urlsafe(24)


def render_token(kind: str, user_id: str, device_id: str, secret: str) -> str:
    """The token that clients are given."""
    localpart = user_id[1:].partition(":")[0]
    body = f"{kind}_{_encode(localpart)}.{_encode(device_id)}.{secret}"
    return f"{body}.{_checksum(body)}"


def _checksum(body: str) -> str:
    return f"{binascii.crc32(body.encode()):08x}"


def _encode(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(text: str) -> str:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
