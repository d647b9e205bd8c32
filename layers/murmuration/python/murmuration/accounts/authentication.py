"""Verification of access tokens against the device they name."""

from __future__ import annotations

from typing import Any

from murmuration.accounts.tokens import AccessToken, Requester
from murmuration.clock import now_ms
from murmuration.protocol.errors import UnknownToken
from murmuration.storage import dynamodb


def authenticate(token: AccessToken) -> Requester:
    """Who `token` proves to be. One read. Raises UnknownToken."""
    return verify(token, dynamodb.get("users", token.key))


def verify(token: AccessToken, device: dict[str, Any] | None) -> Requester:
    """Who `token` proves to be, given its device's item. Raises UnknownToken."""
    if device is None or not token.matches(device.get("access_hash")):
        raise UnknownToken("The access token is not known, or was logged out", soft_logout=False)
    expires_ms = device.get("access_expires_ms")
    if expires_ms is not None and expires_ms <= now_ms():
        raise UnknownToken("The access token has expired", soft_logout=True)
    return Requester(token.user_id, token.device_id, bool(device.get("guest")), bool(device.get("admin")))
