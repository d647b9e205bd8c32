"""Access and refresh tokens. They are opaque to clients, and name the user and the device that they belong
to.

A function sees in the token which row proves it. So it can read that row together with everything else that
the request needs. The layout is `<kind>_<localpart, base64url>.<device ID, base64url>.<secret>.<checksum>`.
The checksum reveals garbage and typing errors without a read. Only the secret's hash is stored.
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
"""Longer than any token of this server: user and device IDs have at most 255 bytes."""
ACCESS_LIFETIME_MS = 3_600_000
"""The lifetime of an access token whose client can refresh it. Those of other clients don't expire."""


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
            raise Forbidden("The request is about another user than the one whom the access token belongs to")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token as the client presented it: the user and device that it claims, and the secret that has to
    prove them.
    """

    user_id: UserId
    device_id: DeviceId
    secret: str

    @classmethod
    def parse(cls, text: str, kind: str = ACCESS) -> AccessToken:
        """Return the parts of a token, unverified. Raises UnknownToken if it can't be a token of this
        server.
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
        """The key, in the table `users`, of the device that the token claims to belong to."""
        return device_key(self.user_id, self.device_id)

    @property
    def secret_hash(self) -> str:
        """The hash of the secret, in its stored form."""
        return hash_secret(self.secret)

    def matches(self, secret_hash: object) -> bool:
        """Return whether `secret_hash`, the device's stored hash, is that of this token. Compares in constant
        time.
        """
        return isinstance(secret_hash, str) and hmac.compare_digest(secret_hash, self.secret_hash)


@dataclass(frozen=True, slots=True)
class RememberedToken(AccessToken):
    """A token that was presented earlier. Only its hash was kept."""

    kept_hash: str = ""

    @property
    def secret_hash(self) -> str:
        return self.kept_hash


class TokenAnswer(TypedDict):
    """The tokens in an answer. The last two fields are only for clients that can refresh tokens."""

    access_token: str
    refresh_token: NotRequired[str]
    expires_in_ms: NotRequired[int]


@dataclass(frozen=True, slots=True)
class TokenPair:
    """The tokens of one session of a device. Without `refresh_secret` the access token doesn't expire."""

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
        """Return the pair for which `refresh_secret` is exchanged: always the same for the same `nonce`.

        So if a refresh is repeated, because its answer was lost or two requests were sent at once, it gives
        the same tokens. To compute them one needs both the client's secret and the server's nonce.
        """

        def derive(label: str) -> str:
            digest = hmac.digest(refresh_secret.encode(), f"{label} {nonce}".encode(), "sha256")
            return urlsafe_b64encode(digest[:24]).decode()

        return cls(derive("access"), derive("refresh"), now + ACCESS_LIFETIME_MS)

    def attributes(self, prefix: str = "") -> Item:
        """Return the attributes in which the device's item stores the pair."""
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
    """Return the stored hash of a token's secret. The secret has 192 random bits, so it needs no salt and no
    slow hash.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    return secrets.token_urlsafe(24)


def render_token(kind: str, user_id: UserId, device_id: DeviceId, secret: str) -> str:
    """Return the token in the form that the client gets."""
    body = f"{kind}_{_encode(localpart_of(user_id))}.{_encode(device_id)}.{secret}"
    return f"{body}.{_checksum(body)}"


def _checksum(body: str) -> str:
    return f"{binascii.crc32(body.encode()):08x}"


def _encode(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(text: str) -> str:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
