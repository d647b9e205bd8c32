"""Login. https://spec.matrix.org/v1.19/client-server-api/#legacy-login"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from murmuration import server_discovery
from murmuration.accounts import devices, sessions
from murmuration.accounts.credentials import prove_by_password
from murmuration.accounts.interactive.interactive_auth import (
    OAUTH2,
    PASSWORD,
    SSO,
    Attempt,
    reauthenticate,
)
from murmuration.accounts.login_flows import login_flows
from murmuration.accounts.sessions import SessionRequest
from murmuration.accounts.sso.identity_providers import providers
from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.moderation import LOCKED, SUSPENDED, check_device
from murmuration.identity.tokens import Requester, TokenPair, hash_secret, new_secret
from murmuration.protocol.encoding.shapes import Answer, Body
from murmuration.protocol.errors import (
    BadJson,
    Forbidden,
    MissingParam,
    Unavailable,
    Unknown,
    UserDeactivated,
)
from murmuration.settings import settings
from murmuration.storage.auth import user_tokens
from murmuration.storage.live.streams import pause
from murmuration.storage.users import accounts

if TYPE_CHECKING:
    from murmuration.accounts.shapes import LoginAnswer, LoginFlow, LoginFlows, SessionAnswer
    from murmuration.protocol.identifiers import UserId

LOGIN_TOKEN = "m.login.token"  # noqa: S105 - a login type
LOGIN_TOKEN_LIFETIME_MS = 120_000
ATTEMPTS = 8


def get_login_flows() -> LoginFlows:
    """Return the login flows that have a single stage; this API has no others.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login
    """
    flows: list[LoginFlow] = []
    if (PASSWORD,) in login_flows():
        flows.append({"type": PASSWORD})
    if (OAUTH2,) in login_flows():
        flows.append({"type": SSO, "identity_providers": [each.public for each in providers()]})
    return {"flows": [*flows, {"type": LOGIN_TOKEN, "get_login_token": True}]}


def login(body: Body, *, source_ip: str) -> LoginAnswer:
    """Begin a session for the user whose identity the body proves.

    Raises Forbidden, UserDeactivated, LimitExceeded, Unknown for a type that isn't offered, MissingParam,
    BadJson, InvalidParam. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login
    """
    kind = body.get("type")
    if kind is None:
        raise MissingParam("type is missing")
    if not isinstance(kind, str):
        raise BadJson("type must be a string")
    if kind != LOGIN_TOKEN and (kind != PASSWORD or (PASSWORD,) not in login_flows()):
        raise Unknown("This login type is not offered")
    request = SessionRequest.parse(body, source_ip)
    if kind == PASSWORD:
        proof = prove_by_password(body, source_ip=source_ip)
        unchanged = accounts.check_password_unchanged(proof.user_id, proof.password_hash)
        answer = begin_session(proof.user_id, request, [unchanged], is_admin=proof.is_admin)
    else:
        rate_limits.check("login", source_ip)
        user_id = _take_login_token(body.get("token"))
        answer = begin_session(user_id, request, [accounts.check_active(user_id)])
    found = cast("LoginAnswer", answer)
    if (well_known := _well_known()) is not None:
        found["well_known"] = well_known
    return found


def begin_session(
    user_id: UserId, request: SessionRequest, conditions: Sequence[Write], *, is_admin: bool | None = None
) -> SessionAnswer:
    """Give a device new tokens, and revoke all its earlier ones. The device is created if it doesn't exist.

    `conditions` are checks of the account in the same transaction. Raises Forbidden if one fails, and for a
    device ID that is a cross-signing key's; TooLarge if the account has too many devices in use.
    """
    device_id = request.device_id or sessions.new_device_id()
    for race in range(ATTEMPTS):
        account, device = accounts.read_account_and_device(user_id, request.device_id)
        if account is None or "deactivated_ms" in account:
            raise UserDeactivated("This account has been deactivated")
        check_device(account)
        if device is None:
            devices.make_room(user_id)
        if device is None and request.device_id is not None:
            devices.prepare_device_id(user_id, device_id)
        now = now_ms()
        pair = TokenPair.fresh(refreshable=request.refreshable, now=now)
        write = sessions.begin_write(
            user_id,
            request,
            pair,
            device_id=device_id,
            is_known=device is not None,
            is_admin=bool(account.get("admin")) if is_admin is None else is_admin,
            now=now,
        )
        try:
            dynamodb.transact([*(each.named("condition") for each in conditions), write])
        except ConditionFailed as error:
            if error.refused("condition"):
                raise Forbidden("Invalid username or password") from error
            pause(race)
            continue
        if device is None:
            # The account may have been locked since it was read. Then this device wasn't locked with it.
            accounts.copy_flags(user_id, (LOCKED, SUSPENDED))
        return sessions.session_answer(user_id, device_id, pair, now=now)
    raise Unavailable("The device is in use by many logins at once; try again")


def generate_login_token(requester: Requester, attempt: Attempt) -> Answer:
    """Return a token with which another client of the requester's may log in once.

    Every call needs authentication: raises UserInteractiveAuthRequired, LimitExceeded and what
    `reauthenticate` raises.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
    """
    reauthenticate(attempt, requester.user_id, repeatable=False)
    rate_limits.check("login_token", requester.user_id)
    token, expires_ms = new_secret(), now_ms() + LOGIN_TOKEN_LIFETIME_MS
    user_tokens.create(user_tokens.LOGIN, hash_secret(token), requester.user_id, expires_ms=expires_ms)
    return {"login_token": token, "expires_in_ms": LOGIN_TOKEN_LIFETIME_MS}


def _take_login_token(token: object) -> UserId:
    if token is None:
        raise MissingParam("token is missing")
    if not isinstance(token, str):
        raise BadJson("token must be a string")
    user_id = user_tokens.take(user_tokens.LOGIN, hash_secret(token))
    if user_id is None:
        raise Forbidden("The login token is not known, has expired, or was used before")
    return user_id


def _well_known() -> Answer | None:
    """Return the content of `well_known`; None if clients can derive it from the server's name."""
    config = settings()
    if config.public_url == f"https://{config.server_name}" and not config.identity_server_url:
        return None
    return server_discovery.get_wellknown()
