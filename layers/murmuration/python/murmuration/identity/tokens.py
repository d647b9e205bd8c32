"""Access and refresh tokens: opaque to clients, they name the user and device they belong to.

A function knows from the token which row proves it. So it can read that row together with whatever else the
request needs. The layout is `<kind>_<localpart, base64url>.<device ID, base64url>.<secret>.<checksum>`. The
checksum refuses garbage and typing errors without a read. Only the secret's hash is stored.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired, TypedDict

from murmuration.protocol.errors import Forbidden, UnknownToken
from murmuration.protocol.identifiers import DeviceId, UserId, localpart_of, user_id_from
from murmuration.settings import settings
from murmuration.storage.users.accounts import device_key

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import Item

ACCESS = "mma"
REFRESH = "mmr"
MAX_LENGTH = 1024
"""More than any token of this server's: user and device IDs have 255 bytes at most."""
ACCESS_LIFETIME_MS = 3_600_000
"""How long an access token lives whose client can refresh it; those of other clients don't expire."""


@dataclass(frozen=True, slots=True)
class Requester:
    """The verified user and device that make a request."""

    user_id: UserId
    device_id: DeviceId
    is_guest: bool = False
    is_admin: bool = False
    is_suspended: bool = False

    def require_self(self, user_id: UserId) -> None:
        """Raise Forbidden unless `user_id` is the requester's own."""
        if user_id != self.user_id:
            raise Forbidden("This is another user's; the access token is not theirs")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token as presented: whose it claims to be, and the secret that has to prove it."""

    user_id: UserId
    device_id: DeviceId
    secret: str

    @classmethod
    def parse(cls, text: str, kind: str = ACCESS) -> AccessToken:
        """Return the parts of the token, unverified. Raises UnknownToken if it can't be one of this
        server's.
        """
        body, _, checksum = text.rpartition(".")
        prefix, _, fields = body.partition("_")
        parts = fields.split(".")
        ours = prefix == kind and len(parts) == 3 and len(text) <= MAX_LENGTH
        if not ours or checksum != _checksum(body):
            raise UnknownToken("The token is not known", soft_logout=False)
        try:
            localpart, device_id = (_decode(part) for part in parts[:2])
        except (ValueError, binascii.Error) as error:
            raise UnknownToken("The token is not known", soft_logout=False) from error
        return cls(user_id_from(localpart, settings().server_name), DeviceId(device_id), parts[2])

    @property
    def key(self) -> dict[str, str]:
        """The key in the table `users` of the device that the token claims to belong to."""
        return device_key(self.user_id, self.device_id)

    @property
    def secret_hash(self) -> str:
        """Return the hash of the secret, as it is stored."""
        return hash_secret(self.secret)

    def matches(self, secret_hash: object) -> bool:
        """Return whether `secret_hash`, as stored with the device, is this token's; in constant time."""
        return isinstance(secret_hash, str) and hmac.compare_digest(secret_hash, self.secret_hash)


@dataclass(frozen=True, slots=True)
class RememberedToken(AccessToken):
    """A token that was presented earlier, of which only the hash was kept."""

    kept_hash: str = ""

    @property
    def secret_hash(self) -> str:
        return self.kept_hash


class TokenAnswer(TypedDict):
    """The tokens in an answer to a client; the last two are for clients that can refresh them."""

    access_token: str
    refresh_token: NotRequired[str]
    expires_in_ms: NotRequired[int]


@dataclass(frozen=True, slots=True)
class TokenPair:
    """The tokens of one session of a device; without `refresh_secret` the access token doesn't expire."""

    access_secret: str
    refresh_secret: str | None
    access_expires_ms: int | None

    @classmethod
    def fresh(cls, *, refreshable: bool, now: int) -> TokenPair:
        if not refreshable:
            return cls(new_secret(), None, None)
        return cls(new_secret(), new_secret(), now + ACCESS_LIFETIME_MS)

    @classmethod
    def following(cls, refresh_secret: str, nonce: str, *, now: int) -> TokenPair:
        """Return the pair that `refresh_secret` is exchanged for: the same each time for the same `nonce`.

        So a refresh that is repeated, because its answer was lost or two went out at once, gives the same
        tokens. Nobody makes them without both the client's secret and the server's nonce.
        """

        def derive(label: str) -> str:
            digest = hmac.digest(refresh_secret.encode(), f"{label} {nonce}".encode(), "sha256")
            return urlsafe_b64encode(digest[:24]).decode()

        return cls(derive("access"), derive("refresh"), now + ACCESS_LIFETIME_MS)

    def attributes(self, prefix: str = "") -> Item:
        """Return the attributes of the device's item that store the pair."""
        found: Item = {f"{prefix}access_hash": hash_secret(self.access_secret)}
        if self.refresh_secret is not None:
            found[f"{prefix}access_expires_ms"] = self.access_expires_ms
            found[f"{prefix}refresh_hash"] = hash_secret(self.refresh_secret)
        return found

    def answer(self, user_id: UserId, device_id: DeviceId, *, now: int) -> TokenAnswer:
        """Return the answer to the client: `access_token`, and `refresh_token` with `expires_in_ms`."""
        found: TokenAnswer = {"access_token": render_token(ACCESS, user_id, device_id, self.access_secret)}
        if self.refresh_secret is not None and self.access_expires_ms is not None:
            found["refresh_token"] = render_token(REFRESH, user_id, device_id, self.refresh_secret)
            found["expires_in_ms"] = self.access_expires_ms - now
        return found


def hash_secret(secret: str) -> str:
    """Return the hash that is stored of a token's secret; 192 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    return secrets.token_urlsafe(24)


def render_token(kind: str, user_id: UserId, device_id: DeviceId, secret: str) -> str:
    """Return the token that clients are given."""
    body = f"{kind}_{_encode(localpart_of(user_id))}.{_encode(device_id)}.{secret}"
    return f"{body}.{_checksum(body)}"


def _checksum(body: str) -> str:
    return f"{binascii.crc32(body.encode()):08x}"


def _encode(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(text: str) -> str:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
