"""Verification of access tokens against the device that they name."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING

from murmuration.aws.reads import fetch
from murmuration.clock import now_ms
from murmuration.identity import budgets, moderation
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.errors import UnknownToken
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.users import accounts

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import Item
    from murmuration.storage.json_types import DeviceItem, OwnerFlags

SEEN_INTERVAL_MS = 600_000
"""The maximum age of a device's `last_seen_ms`: it is written at most once in this time."""


Address = Callable[[], str]
"""Returns the client's address. It is called only if the address is written, because finding it may take a
read."""


def authenticate(
    token: AccessToken, *, address: Address | None = None, even_locked: bool = False
) -> Requester:
    """Return the user and device of `token`, once it is verified. One read. Raises what `verify` raises."""
    device = fetch(accounts.device_read(token.key))
    return verify(token, device, address=address, even_locked=even_locked)


def verify(
    token: AccessToken,
    device: DeviceItem | None,
    *,
    address: Address | None = None,
    even_locked: bool = False,
) -> Requester:
    """Return the requester that `token` proves, given its device's item. From now on the request is billed to
    them.

    Raises UnknownToken, UserLocked unless `even_locked`, UserSuspended if the endpoint refuses suspended
    users, LimitExceeded for a user whose budget is spent. Writes only on the first use of a refreshed token,
    which revokes the earlier tokens, and if the device was last seen `SEEN_INTERVAL_MS` ago.
    https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
    """
    secret_hash = token.secret_hash
    is_next = device is not None and _equal(device.get("next_access_hash"), secret_hash)
    if device is None or not (is_next or _equal(device.get("access_hash"), secret_hash)):
        raise UnknownToken("The access token is not known, or was logged out", soft_logout=False)
    now = now_ms()
    expires_ms = device.get("next_access_expires_ms") if is_next else device.get("access_expires_ms")
    if expires_ms is not None and expires_ms <= now:
        raise UnknownToken("The access token has expired", soft_logout=True)
    moderation.check_device(device, even_locked=even_locked)
    budgets.charge_to(token.user_id)
    _record_use(token, device, is_next, now, address)
    return requester_of(token.user_id, token.device_id, device)


def requester_of(user_id: UserId, device_id: DeviceId, device: OwnerFlags) -> Requester:
    """Return the requester that the item of a device, or of an account, describes."""
    return Requester(
        user_id,
        device_id,
        is_guest=bool(device.get("guest")),
        is_admin=bool(device.get("admin")),
        is_suspended=bool(device.get("suspended")),
    )


def _record_use(
    token: AccessToken, device: DeviceItem, is_next: bool, now: int, address: Address | None
) -> None:
    if not is_next and now - device.get("last_seen_ms", 0) < SEEN_INTERVAL_MS:
        return
    seen: Item = {"last_seen_ms": now} | ({"last_seen_ip": address()} if address else {})
    if is_next:
        accounts.promote_next_tokens(device, seen)
    else:
        accounts.update_device(token.user_id, token.device_id, seen)


def _equal(stored: object, secret_hash: str) -> bool:
    return isinstance(stored, str) and hmac.compare_digest(stored, secret_hash)
