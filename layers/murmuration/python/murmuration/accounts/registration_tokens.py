"""Registration tokens: who may register where registration isn't open.

https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.protocol.errors import BadJson, Forbidden, InvalidParam, MissingParam, Unavailable
from murmuration.settings import settings
from murmuration.storage.auth import registration_tokens
from murmuration.storage.auth.auth_sessions import LIFETIME_S
from murmuration.storage.auth.registration_tokens import RegistrationToken
from murmuration.storage.live.streams import pause

MAX_LENGTH = 64
ATTEMPTS = 20
_GRAMMAR = re.compile(r"[0-9A-Za-z._~-]{1,64}")


def create_registration_token(
    token: str | None = None, *, uses_allowed: int | None = None, expiry_ms: int | None = None
) -> str:
    """Make a token, by default with a random name, and return it. Raises InvalidParam."""
    token = token if token is not None else secrets.token_urlsafe(12)
    if not _GRAMMAR.fullmatch(token):
        raise InvalidParam(f"A registration token has 1 to {MAX_LENGTH} characters of A-Z a-z 0-9 . _ ~ -")
    if uses_allowed is not None and uses_allowed < 0:
        raise InvalidParam("uses_allowed must not be negative")
    try:
        dynamodb.execute(
            registration_tokens.token_write(
                RegistrationToken(token, uses_allowed=uses_allowed, expiry_ms=expiry_ms)
            )
        )
    except ConditionFailed as error:
        raise InvalidParam("A token with this text exists already") from error
    return token


def check_validity(token: str | None, *, source_ip: str) -> dict[str, bool]:
    """Return whether `token` can be used for a registration now. Raises MissingParam, Forbidden,
    LimitExceeded.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity
    """
    if settings().registration == "closed":
        raise Forbidden("Registration is not enabled on this homeserver")
    if token is None:
        raise MissingParam("The query parameter token is missing")
    rate_limits.check("registration_query", source_ip)
    found = registration_tokens.read_token(token) if _GRAMMAR.fullmatch(token) else None
    return {"valid": found is not None and _is_usable(_without_lapsed(found))}


def claim(token: object, session: str) -> str:
    """Reserve a use of `token` for `session` until the session registers or the reservation expires.
    Idempotent.

    Raises Forbidden for a token that can't be used, MissingParam, BadJson.
    """
    if token is None:
        raise MissingParam("auth.token is missing")
    if not isinstance(token, str):
        raise BadJson("auth.token must be a string")
    for attempt in range(ATTEMPTS):
        found = registration_tokens.read_token(token) if _GRAMMAR.fullmatch(token) else None
        current = _without_lapsed(found) if found else None
        if current is not None and session in current.pending:
            return token
        if current is None or not _is_usable(current):
            raise Forbidden("The registration token is not valid")
        held = {**current.pending, session: now_ms() // 1000 + LIFETIME_S}
        try:
            dynamodb.execute(registration_tokens.token_write(replace(current, pending=held)))
        except ConditionFailed:
            pause(attempt)
            continue
        return token
    raise Unavailable("The registration token is in use by many at once; try again")


def use_write(token: str, session: str) -> Write:
    """Return the write that turns a reservation into a use, for the transaction that creates the account.

    Raises Forbidden if the reservation has expired.
    """
    found = registration_tokens.read_token(token)
    current = _without_lapsed(found) if found else None
    if current is None or session not in current.pending:
        raise Forbidden("The registration token is not valid any more")
    pending = {other: lapses for other, lapses in current.pending.items() if other != session}
    return registration_tokens.token_write(replace(current, pending=pending, completed=current.completed + 1))


def _without_lapsed(token: RegistrationToken) -> RegistrationToken:
    now = now_ms() // 1000
    return replace(token, pending={each: lapses for each, lapses in token.pending.items() if lapses > now})


def _is_usable(token: RegistrationToken) -> bool:
    if token.expiry_ms is not None and token.expiry_ms <= now_ms():
        return False
    return token.uses_allowed is None or len(token.pending) + token.completed < token.uses_allowed
