"""A device's session: its tokens are issued, exchanged and revoked."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.clock import now_ms
from murmuration.identity import moderation
from murmuration.identity.tokens import REFRESH, AccessToken, Requester, TokenPair, new_secret
from murmuration.protocol.encoding.shapes import Answer, Body
from murmuration.protocol.errors import BadJson, InvalidParam, MissingParam, Unavailable, UnknownToken
from murmuration.protocol.identifiers import DeviceId, UserId, is_valid_device_id
from murmuration.settings import settings
from murmuration.storage.users import accounts

if TYPE_CHECKING:
    from murmuration.accounts.shapes import BareAnswer, SessionAnswer
    from murmuration.aws.dynamodb import Item
    from murmuration.identity.tokens import TokenAnswer

MAX_DISPLAY_NAME = 100
"""In characters, as in Synapse. Other users see a device's name."""
ATTEMPTS = 8
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """The parameters of a login or registration that concern its new session."""

    device_id: DeviceId | None
    display_name: str | None
    refreshable: bool
    source_ip: str

    @classmethod
    def parse(cls, body: Body, source_ip: str) -> SessionRequest:
        """Return the parameters in the body of a login or registration. Raises BadJson, InvalidParam."""
        device_id = _optional(body, "device_id", str) or None
        if device_id is not None:
            check_device_id(device_id)
        name = _optional(body, "initial_device_display_name", str)
        if name is not None:
            check_display_name(name)
        return cls(device_id, name, _optional(body, "refresh_token", bool) or False, source_ip)

    def new_device(self, pair: TokenPair, *, now: int, is_admin: bool = False) -> Item:
        """Return the attributes of a device that is created with this session."""
        found = {**pair.attributes(), **self._seen(now), "created_ms": now}
        if self.display_name is not None:
            found["display_name"] = self.display_name
        if is_admin:
            found["admin"] = True
        return found

    def known_device(self, pair: TokenPair, *, now: int) -> tuple[Item, list[str]]:
        """Return two things for an existing device: the attributes to set, and the names of those
        to remove.
        """
        found = {**pair.attributes(), **self._seen(now)}
        return found, [name for name in ("access_expires_ms", "refresh_hash") if name not in found]

    def _seen(self, now: int) -> Item:
        return {"last_seen_ms": now} | ({"last_seen_ip": self.source_ip} if self.source_ip else {})


def check_device_id(device_id: DeviceId) -> None:
    """Raise InvalidParam for an invalid device ID. A `#` is invalid because keys use it as a separator."""
    if not is_valid_device_id(device_id) or "#" in device_id:
        raise InvalidParam("This is not a valid device ID")


def check_display_name(name: str) -> None:
    """Raise InvalidParam for an invalid display name."""
    if len(name) > MAX_DISPLAY_NAME:
        raise InvalidParam(f"A device's display name has at most {MAX_DISPLAY_NAME} characters")


def new_device_id() -> DeviceId:
    return DeviceId("".join(secrets.choice(_ALPHABET) for _ in range(10)))


def session_answer(user_id: UserId, device_id: DeviceId, pair: TokenPair, *, now: int) -> SessionAnswer:
    """Return the answer of a login or registration about its new session."""
    bare: BareAnswer = {"user_id": user_id, "home_server": settings().server_name}
    return {**bare, "device_id": device_id, **pair.answer(user_id, device_id, now=now)}


def begin_write(
    user_id: UserId,
    request: SessionRequest,
    pair: TokenPair,
    *,
    device_id: DeviceId,
    is_known: bool,
    is_admin: bool,
    now: int,
) -> Write:
    """Return the write that begins a session. It is refused if `is_known` isn't true any more."""
    if is_known:
        attributes, removed = request.known_device(pair, now=now)
        return accounts.replace_tokens_write(user_id, device_id, attributes, removed)
    return accounts.create_device_write(
        user_id, device_id, request.new_device(pair, now=now, is_admin=is_admin)
    )


def refresh(body: Body) -> TokenAnswer:
    """Exchange a refresh token for a new pair. The old pair stays valid until a new token is used.

    Raises UnknownToken, UserLocked, MissingParam, BadJson.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh
    """
    text = body.get("refresh_token")
    if text is None:
        raise MissingParam("refresh_token is missing")
    if not isinstance(text, str):
        raise BadJson("refresh_token must be a string")
    token = AccessToken.parse(text, REFRESH)
    for _ in range(ATTEMPTS):
        device = accounts.read_device(token.user_id, token.device_id)
        if device is None:
            raise UnknownToken("The refresh token is not known", soft_logout=False)
        if token.matches(device.get("next_refresh_hash")):
            accounts.promote_next_tokens(device)
            continue
        if not token.matches(device.get("refresh_hash")):
            raise UnknownToken("The refresh token is not known, or was used before", soft_logout=True)
        moderation.check_device(device)
        now, offered = now_ms(), device.get("next_nonce")
        nonce = offered or new_secret()
        pair = TokenPair.following(token.secret, nonce, now=now)
        try:
            accounts.offer_next_tokens(
                token.user_id,
                token.device_id,
                {**pair.attributes("next_"), "next_nonce": nonce},
                refresh_hash=device["refresh_hash"],
                nonce=offered,
            )
        except ConditionFailed:
            continue
        return pair.answer(token.user_id, token.device_id, now=now)
    raise Unavailable("The device's tokens are being refreshed by many requests at once; try again")


def get_token_owner(requester: Requester) -> Answer:
    """Return the user and the device that the access token belongs to.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami
    """
    return {
        "user_id": requester.user_id,
        "device_id": requester.device_id,
        "is_guest": requester.is_guest,
    }


def _optional(body: Body, name: str, kind: type[Any]) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise BadJson(f"{name} must be a {'string' if kind is str else 'boolean'}")
    return value
