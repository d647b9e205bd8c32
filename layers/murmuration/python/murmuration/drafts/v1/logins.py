"""Login and registration by stages, as in the founding draft of 2014 ("Registration and login").

The stages and sessions are those of user-interactive authentication, under other names: the answer to a
completed stage has `next` or, at the end, credentials. Registration works like login, but also creates the
account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from murmuration import pages
from murmuration.accounts import login as today
from murmuration.accounts import registration
from murmuration.accounts.credentials import local_user_id
from murmuration.accounts.interactive.interactive_auth import (
    DUMMY,
    EMAIL_URL,
    OAUTH2,
    PASSWORD,
    REGISTRATION_TOKEN,
    Attempt,
    Flow,
    Standing,
    advance,
    prove,
)
from murmuration.accounts.login_flows import login_flows
from murmuration.accounts.sessions import SessionRequest
from murmuration.accounts.sso import accounts as sso_accounts
from murmuration.accounts.sso import login as sso
from murmuration.accounts.sso.identity_providers import IdentityProvider, providers
from murmuration.accounts.sso.openid_connect import Identity
from murmuration.identity import rate_limits
from murmuration.pages import Page
from murmuration.protocol.encoding.shapes import Body, JsonObject
from murmuration.protocol.errors import (
    BadJson,
    Forbidden,
    MatrixError,
    MissingParam,
    Unknown,
    UserInteractiveAuthRequired,
    UserInUse,
)
from murmuration.protocol.identifiers import UserId
from murmuration.settings import settings
from murmuration.storage.auth import auth_sessions
from murmuration.storage.auth.login_states import LoginState
from murmuration.storage.users import accounts

LOGIN, REGISTER = "/_matrix/client/api/v1/login", "/_matrix/client/api/v1/register"
LIFETIME_S = 1800
"""How long a login may take after each of its stages."""
Answer = dict[str, Any]


# -- Login -----------------------------------------------------------------------------------------------


def get_login_flows() -> Answer:
    """Return every flow for logging in, with its stages if it has several."""
    return _listed(login_flows())


def login(body: Body, *, source_ip: str) -> Answer:
    """Check a stage's credentials. Returns the session with what to do, the `next` stage, or the new
    credentials.

    Raises Forbidden, LoginEmailUrlNotYet, UserDeactivated, LimitExceeded, Unknown for a type that isn't
    offered, MissingParam, BadJson, InvalidParam.
    """
    kind = _kind(body, login_flows())
    request = SessionRequest.parse(body, source_ip)
    if kind == PASSWORD and (PASSWORD,) in login_flows() and "session" not in body:
        return _credentials(today.login({**body, "refresh_token": False}, source_ip=source_ip))
    # Clients poll every other moment whether the link was followed.
    polls = kind == EMAIL_URL and "email" not in body
    if kind != PASSWORD:  # the check of passwords counts attempts itself
        rate_limits.check("login_poll" if polls else "login", source_ip)
    standing = advance(
        Attempt("POST", LOGIN, {"auth": {**body, "operation": "login"}}, source_ip),
        login_flows(),
        bind_body=False,
        repeatable=False,
        lifetime_s=LIFETIME_S,
    )
    return _go_on(standing, request, kind)


def _go_on(standing: Standing, request: SessionRequest, kind: str) -> Answer:
    """Return the client's answer for the progress of a session. Raises the error with which its
    stage failed.
    """
    if standing.failure is not None:
        raise standing.failure
    if standing.begun is not None:
        return {"type": kind, "session": standing.session, **standing.begun.fields}
    if not standing.is_complete:
        return {"session": standing.session, "next": standing.following[0]}
    user_id = UserId(str(standing.user_id))
    answer = today.begin_session(user_id, request, [accounts.check_active(user_id)])
    auth_sessions.end_session(standing.session)
    return _credentials(answer)


def _credentials(answer: JsonObject) -> Answer:
    return {name: answer[name] for name in ("user_id", "access_token", "home_server", "device_id")}


# -- Registration ----------------------------------------------------------------------------------------


def get_register_flows() -> Answer:
    """Return the flows for registering. Raises Forbidden if registration is closed."""
    return _listed(_register_flows())


def register(body: Body, *, source_ip: str) -> Answer:
    """Check a stage of a registration, as `login` does. The password's stage also has the user name.

    Without a `user` the server chooses one. Raises Forbidden, UserInUse, InvalidUsername, WeakPassword,
    LimitExceeded, Unknown, MissingParam, BadJson, InvalidParam.
    """
    flows = _register_flows()
    kind = _kind(body, flows)
    request = SessionRequest.parse(body, source_ip)
    if kind == PASSWORD:
        return _register_by_password(body, source_ip)
    rate_limits.check("registration", source_ip)
    standing = advance(
        Attempt("POST", REGISTER, {"auth": {**body, "operation": "register"}}, source_ip),
        flows,
        bind_body=False,
        repeatable=False,
        lifetime_s=LIFETIME_S,
    )
    return _go_on(standing, request, kind)


def _register_by_password(body: Body, source_ip: str) -> Answer:
    """Complete the last stage of each flow that asks for a password: register the user as today's
    registration does.
    """
    if settings().registration == "token" and "session" not in body:
        raise Forbidden(f"{PASSWORD} is not the next stage of a flow")
    auth = {"type": DUMMY} | ({"session": body["session"]} if "session" in body else {})
    fields = {
        "username": body.get("user") or None,
        "password": body.get("password"),
        **_device_fields(body),
    }
    attempt = Attempt("POST", REGISTER, {**fields, "auth": auth}, source_ip)
    try:
        return _credentials(registration.register("user", attempt))
    except UserInteractiveAuthRequired as error:
        raise Forbidden("The stages before this one are not complete") from error


def _register_flows() -> tuple[Flow, ...]:
    by_password: Mapping[str, tuple[Flow, ...]] = {
        "open": ((PASSWORD,),),
        "token": ((REGISTRATION_TOKEN, PASSWORD),),
    }
    by_provider = any(each.creates_accounts for each in providers())
    flows = by_password.get(settings().registration, ()) + (((OAUTH2,),) if by_provider else ())
    if not flows:
        raise Forbidden("Registration is disabled on this homeserver")
    return flows


# -- Coming back from an identity provider ---------------------------------------------------------------


def finish_oauth2(pending: LoginState, query: Mapping[str, str], cookies: str) -> Page:
    """Complete the stage of a user whom a provider sent back. Returns the answer to the request that began
    it.

    So the answer is JSON, for errors too: the client reads it, whatever form the browser prefers. If the
    fallback page began the stage, the answer is that page, which continues by itself.
    """
    status = 200
    try:
        outcome = _finish_oauth2(pending, query, cookies)
    except MatrixError as error:
        outcome, status = error.body(), error.status
    if not pending.purpose.get("page"):
        return pages.json_answer(outcome, status)
    return fallback_page({"outcome": outcome, "fields": _device_fields(pending.purpose)})


def _finish_oauth2(pending: LoginState, query: Mapping[str, str], cookies: str) -> Answer:
    chosen, identity = sso.identify(pending, query, cookies)
    purpose = pending.purpose
    request = SessionRequest.parse(purpose, "")
    session, user = str(purpose["session"]), purpose.get("user")
    wanted = user if isinstance(user, str) else None
    if purpose.get("operation") == "register":
        flows, user_id = _register_flows(), _registered(chosen, identity, wanted)
    else:
        flows, user_id = login_flows(), _logged_in(chosen, identity, wanted)
    return _go_on(prove(session, flows, OAUTH2, {"user_id": user_id}, lifetime_s=LIFETIME_S), request, OAUTH2)


def _logged_in(chosen: IdentityProvider, identity: Identity, wanted: str | None) -> UserId:
    """Return the user who came back. If a user is expected, it must be that one; otherwise it may be a new
    user.
    """
    if wanted is None:
        return sso_accounts.owner_or_new(chosen, identity)
    owner = sso_accounts.owner_of(chosen, identity)
    if owner is None or owner != local_user_id(wanted):
        raise Forbidden(f"Another user of {chosen.name} came back than the one who wants to log in")
    return owner


def _registered(chosen: IdentityProvider, identity: Identity, wanted: str | None) -> UserId:
    if sso_accounts.owner_of(chosen, identity) is not None:
        raise UserInUse(f"This user of {chosen.name} has an account already")
    name = registration.parse_username(wanted or None)
    return sso_accounts.create(chosen, identity, localpart=name)


# -- Fallback --------------------------------------------------------------------------------------------


def get_fallback_page(query: Mapping[str, str]) -> Page:
    """Return a page that performs the whole login, by any flow, and passes the result to the client by
    `onLogin`.

    `device_id` and `initial_device_display_name` go into the login.
    """
    return fallback_page({"fields": _device_fields(query)})


def fallback_page(data: Body) -> Page:
    """Return the fallback page with the data that it begins or continues with."""
    content = (
        '<p id="status" role="status" aria-live="polite">This page needs JavaScript to log you in.</p>'
        '<p id="problem" role="alert"></p><div id="stage"></div>'
    )
    about = {"server": settings().server_name, "login": LOGIN, **data}
    return pages.page(f"Log in to {settings().server_name}", content, script="login.js", data=about)


# -- What both share -------------------------------------------------------------------------------------


def _kind(body: Body, flows: Sequence[Flow]) -> str:
    kind = body.get("type")
    if kind is None:
        raise MissingParam("type is missing")
    if not isinstance(kind, str):
        raise BadJson("type must be a string")
    if not any(kind in flow for flow in flows):
        raise Unknown("This login type is not offered")
    return kind


def _device_fields(values: Body) -> dict[str, Any]:
    return {name: values[name] for name in ("device_id", "initial_device_display_name") if name in values}


def _listed(flows: Sequence[Flow]) -> Answer:
    return {
        "flows": [{"type": flow[0]} | ({"stages": list(flow)} if len(flow) > 1 else {}) for flow in flows]
    }
