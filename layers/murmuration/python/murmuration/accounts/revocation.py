"""Revocation of an access token. The request may be authenticated with another of the user's tokens."""

from __future__ import annotations

from murmuration.accounts.devices import remove_devices
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.errors import InvalidParam, UnknownToken
from murmuration.storage.users import accounts


def revoke_token(requester: Requester, text: str) -> None:
    """Delete the requester's device to which an access token belongs. Does nothing if the device is gone.

    A device has one session, so the session ends with the token. Raises InvalidParam if the text isn't a
    token of this server, Forbidden for another user's token.
    """
    try:
        token = AccessToken.parse(text)
    except UnknownToken as error:
        raise InvalidParam("This is not an access token of this server") from error
    requester.require_self(token.user_id)
    device = accounts.read_device(token.user_id, token.device_id)
    if device is None:
        return
    if token.matches(device.get("access_hash")) or token.matches(device.get("next_access_hash")):
        remove_devices(token.user_id, [token.device_id])
