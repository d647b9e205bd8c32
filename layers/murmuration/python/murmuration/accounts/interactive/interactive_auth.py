"""User-interactive authentication: stages, flows, sessions.

https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api

A session is bound to one operation: its ID ends with a digest of method, path, requester and body, and the
session is refused for any other operation. So nothing needs to be stored before the first stage is completed.

A new kind of stage is a function in `STAGES`. If a stage needs several requests, its function returns `Begun`
until the last one. If a stage is completed outside of the client's request (by a link in a mail or a single
sign-on page), that code calls `complete_stage` or `complete_on_page`, and the client then sends only the
session.

The founding draft's login by stages (`drafts/v1`) uses `advance` too.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.shapes import AuthFields, Body
from murmuration.protocol.errors import (
    AnotherUser,
    BadJson,
    Forbidden,
    InvalidParam,
    MatrixError,
    Unavailable,
    UserInteractiveAuthRequired,
)
from murmuration.protocol.identifiers import UserId
from murmuration.storage.auth import auth_sessions
from murmuration.storage.auth.auth_sessions import LIFETIME_S, Stage

if TYPE_CHECKING:
    from murmuration.accounts.shapes import Challenge
    from murmuration.protocol.encoding.shapes import JsonObject

PASSWORD = "m.login.password"  # noqa: S105 - a stage's type
DUMMY = "m.login.dummy"
REGISTRATION_TOKEN = "m.login.registration_token"  # noqa: S105 - a stage's type
SSO = "m.login.sso"
OAUTH2 = "m.login.oauth2"
EMAIL_IDENTITY = "m.login.email.identity"
EMAIL_CODE = "m.login.email.code"
EMAIL_URL = "m.login.email.url"

_ANOTHER_USER = "Another user completed this authentication, not the one whom the request is about"

Flow = tuple[str, ...]
"""The types of a flow's stages, in order."""

PAGE = "page"
"""The key of a proof that records which user completed a stage on a page."""
ATTEMPTS = 5
_SESSION = re.compile(r"[\w-]{24}\.[\w-]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request for an operation, with the request's proof (`auth`) if there is one."""

    method: str
    path: str
    body: Body
    source_ip: str = ""

    @property
    def auth(self) -> AuthFields:
        """The request's `auth`; empty if there's none. In it, `null` counts as missing. Raises BadJson."""
        auth = self.body.get("auth")
        if auth is None:
            return {}
        if not isinstance(auth, Mapping):
            raise BadJson("auth must be an object")
        for name in ("type", "session"):
            if not isinstance(auth.get(name), str | None):
                raise BadJson(f"auth.{name} must be a string")
        return auth

    def digest(self, user_id: UserId | None, *, bind_body: bool) -> str:
        """Return the digest of the operation. The ID of each of its sessions ends with it.

        So a session can be used for one operation only and, with `bind_body`, for one body only.
        """
        body = {name: value for name, value in self.body.items() if name != "auth"} if bind_body else {}
        operation = [self.method, self.path, user_id, body]
        digest = hashlib.sha256(canonical_json.encode(operation, strict=False)).digest()
        return urlsafe_b64encode(digest[:12]).decode()


@dataclass(frozen=True, slots=True)
class Context:
    """The input of a stage's check: the session, and the user who has to authenticate, if known.

    `purpose` is the purpose for which a link in a mail must have been sent (`threepids.validation`).
    """

    session: str
    user_id: UserId | None
    source_ip: str = ""
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    """The result of a stage that isn't complete: it needs another request, or an action outside of the
    client.

    `fields` are added to the client's answer.
    """

    fields: JsonObject = field(default_factory=dict)


Proved = Mapping[str, Any]
"""What a stage proved, such as `user_id` or `address`; the keys depend on the stage."""
Outcome = Proved | Begun
"""The result of a stage: what it proved, or that it isn't complete yet."""


@dataclass(frozen=True, slots=True)
class Authorised:
    """All stages of a flow are complete; `proofs` has what each stage proved, by type."""

    session: str
    proofs: Mapping[str, Proved]

    @property
    def user_id(self) -> UserId:
        """The user whose identity the stages prove; they agree on it."""
        return next(UserId(str(proof["user_id"])) for proof in self.proofs.values() if "user_id" in proof)


@dataclass(frozen=True, slots=True)
class Standing:
    """The progress of a session: the completed stages, and the result of the stage in this request."""

    session: str
    flows: Sequence[Flow]
    completed: Sequence[Stage]
    begun: Begun | None = None
    failure: MatrixError | None = None

    @property
    def is_complete(self) -> bool:
        return _types(self.completed) in self.flows

    @property
    def user_id(self) -> UserId | None:
        """The user whose identity the completed stages prove; None before one does."""
        return _proved_user(self.completed)

    @property
    def following(self) -> list[str]:
        """The types of the stages that may come next, in the order of the flows."""
        done = _types(self.completed)
        found = [
            flow[len(done)] for flow in self.flows if flow[: len(done)] == done and len(flow) > len(done)
        ]
        return list(dict.fromkeys(found))


def _password(context: Context, auth: AuthFields) -> Outcome:
    from murmuration.accounts.credentials import prove_by_password

    # A client that repeats a request to close an account has no token any more.
    even_closing = context.user_id is None and context.purpose == "password"
    proof = prove_by_password(
        auth, source_ip=context.source_ip, expected=context.user_id, even_closing=even_closing
    )
    return {"user_id": proof.user_id}


def _dummy(context: Context, auth: AuthFields) -> Outcome:  # noqa: ARG001 - asks for nothing
    return {}


def _registration_token(context: Context, auth: AuthFields) -> Outcome:
    from murmuration.accounts.registration_tokens import claim

    return {"token": claim(auth.get("token"), context.session)}


def _sso(context: Context, auth: AuthFields) -> Outcome:  # noqa: ARG001 - its page completes it
    return Begun()


def _oauth2(context: Context, auth: AuthFields) -> Outcome:
    from murmuration.accounts.interactive.oauth2_stage import begin

    return begin(context, auth)


def _email_identity(context: Context, auth: AuthFields) -> Outcome:
    from murmuration.accounts.threepids.proofs import prove_by_session

    return prove_by_session(context, auth)


def _email_code(context: Context, auth: AuthFields) -> Outcome:
    from murmuration.accounts.interactive.email_stages import prove_by_code

    return prove_by_code(context, auth)


def _email_url(context: Context, auth: AuthFields) -> Outcome:
    from murmuration.accounts.interactive.email_stages import prove_by_link

    return prove_by_link(context, auth)


STAGES: Mapping[str, Callable[[Context, AuthFields], Outcome]] = MappingProxyType(
    {
        PASSWORD: _password,
        DUMMY: _dummy,
        REGISTRATION_TOKEN: _registration_token,
        SSO: _sso,
        OAUTH2: _oauth2,
        EMAIL_IDENTITY: _email_identity,
        EMAIL_CODE: _email_code,
        EMAIL_URL: _email_url,
    }
)
"""The functions that check stages, by type. Each returns what was proved, or raises Forbidden."""


def authorise(
    attempt: Attempt,
    flows: Sequence[Flow],
    *,
    user_id: UserId | None = None,
    bind_body: bool = True,
    repeatable: bool = True,
    params: Mapping[str, JsonObject] | None = None,
    purpose: str = "",
) -> Authorised:
    """Require that the client completed one of `flows` for this very operation.

    `user_id` is the user who must authenticate; without it, the completed stages tell who it is.
    `bind_body=False` lets the body change between a session's requests. A `repeatable` operation may be asked
    for again with a completed session, as its answer may have been lost. `params` is what clients have to
    know for a stage, by type. `purpose` is the purpose for which links in mails must have been sent. Raises
    UserInteractiveAuthRequired while stages are missing (with the reason, if one failed), Forbidden for a
    session of another operation, AnotherUser, and what a malformed stage raises.
    """
    standing = advance(
        attempt, flows, user_id=user_id, bind_body=bind_body, repeatable=repeatable, purpose=purpose
    )
    if standing.is_complete:
        return Authorised(standing.session, dict(standing.completed))
    raise UserInteractiveAuthRequired(_challenge(standing, params), standing.failure)


def reauthenticate(attempt: Attempt, user_id: UserId, *, repeatable: bool = True) -> Authorised:
    """Require that `user_id`, who is logged in, authenticates again by password or single sign-on.

    Raises what `authorise` raises.
    """
    return authorise(attempt, proofs_of(user_id), user_id=user_id, repeatable=repeatable)


def proofs_of(user_id: UserId) -> list[Flow]:
    """Return the flows with which a user can authenticate again. Reads nothing if only passwords
    are offered.
    """
    from murmuration.settings import settings

    if not settings().identity_providers:
        return [(PASSWORD,)]
    from murmuration.storage.users import accounts, subjects

    account, linked = concurrency.gather(
        functools.partial(accounts.read_account, user_id), functools.partial(subjects.read_subjects, user_id)
    )
    by_password = account is None or "password_hash" in account or not linked
    flows: list[Flow] = [(PASSWORD,)] if by_password else []
    return [*flows, (SSO,)] if linked else flows


def advance(
    attempt: Attempt,
    flows: Sequence[Flow],
    *,
    user_id: UserId | None = None,
    bind_body: bool = True,
    repeatable: bool = True,
    lifetime_s: int = LIFETIME_S,
    purpose: str = "",
) -> Standing:
    """Check the stage that a request completes or continues, and return the progress of its session.

    If a stage fails, the result has the failure. A malformed stage raises. Raises Forbidden for a session of
    another operation, and for one whose stages prove another user than `user_id`; AnotherUser for a stage
    that does. Completed stages expire `lifetime_s` after the latest one.
    """
    auth = attempt.auth
    digest = attempt.digest(user_id, bind_body=bind_body)
    session = _session_of(auth, digest)
    completed = list(auth_sessions.read_session(session).completed) if auth.get("session") else []
    expected = _expected_user(user_id, completed)
    standing = Standing(session, flows, completed)
    kind = auth.get("type")
    if kind is None or kind in dict(completed):
        return standing
    try:
        outcome = _check(kind, standing, Context(session, expected, attempt.source_ip, purpose), auth)
        # A stage may have begun before any user was proved, and then prove a different user.
        if not isinstance(outcome, Begun) and expected not in (None, outcome.get("user_id", expected)):
            raise AnotherUser(_ANOTHER_USER)
    except AnotherUser:
        raise
    except MatrixError as error:
        if error.status not in (401, 403):
            raise
        return replace(standing, failure=error)
    if isinstance(outcome, Begun):
        return replace(standing, begun=outcome)
    standing = replace(standing, completed=[*completed, (kind, outcome)])
    if not standing.is_complete or (repeatable and auth.get("session")):
        complete_stage(session, kind, outcome, lifetime_s=lifetime_s)
    return standing


def _session_of(auth: AuthFields, digest: str) -> str:
    """Return the session that a request names, or a new one. Raises InvalidParam, Forbidden."""
    session = auth.get("session") or new_session(digest)
    if not is_session(session):
        raise InvalidParam("The session is not one of this server's")
    if not hmac.compare_digest(session.rpartition(".")[2], digest):
        raise Forbidden("The session was begun for another operation")
    return str(session)


def _expected_user(user_id: UserId | None, completed: Sequence[Stage]) -> UserId | None:
    """Return the user whom further stages have to prove, if one is known. Raises Forbidden if the completed
    stages prove another user than `user_id`.
    """
    proved = _proved_user(completed)
    if proved is not None and user_id not in (None, proved):
        raise Forbidden(_ANOTHER_USER)
    if user_id is None and any(PAGE in proof for _, proof in completed):
        raise Forbidden("A page can't prove who you are if you aren't logged in")
    return user_id or proved


def new_session(digest: str) -> str:
    """Return the ID of a new session for the operation with this digest."""
    return f"{secrets.token_urlsafe(18)}.{digest}"


def prove(session: str, flows: Sequence[Flow], kind: str, proof: Proved, *, lifetime_s: int) -> Standing:
    """Record a stage that was completed outside of the client, perhaps by another person than the one who
    began the session.

    If stages are still missing, they continue in a session with a new ID, which only the person who completed
    this stage learns. Raises Forbidden if the stage isn't the next one, or proves another user than the
    earlier stages.
    """
    completed = auth_sessions.read_session(session).completed
    standing = Standing(session, flows, completed)
    if kind not in standing.following:
        raise Forbidden(f"{kind} is not the next stage of a flow")
    if standing.user_id not in (None, proof.get("user_id")):
        raise Forbidden(_ANOTHER_USER)
    standing = replace(standing, completed=[*completed, (kind, proof)])
    if not standing.is_complete:
        standing = replace(standing, session=new_session(session.rpartition(".")[2]))
        auth_sessions.record_stages(standing.session, standing.completed, before=(), lifetime_s=lifetime_s)
    if completed:
        auth_sessions.end_session(session)
    return standing


def is_session(session: str) -> bool:
    """Return whether `session` has the form of a session's ID."""
    return _SESSION.fullmatch(session) is not None


def complete_on_page(session: str, kind: str, proof: Proved) -> None:
    """Record that a user completed a stage on a page to which a client sent them. Idempotent.

    An attacker can begin a session and lure a user to its page. So this proof counts only for operations that
    are requested with the user's own access token.
    """
    complete_stage(session, kind, {**proof, PAGE: True} if "user_id" in proof else proof)


def complete_stage(session: str, kind: str, proof: Proved, *, lifetime_s: int = LIFETIME_S) -> None:
    """Record that a stage was completed. Idempotent."""
    for _ in range(ATTEMPTS):
        before = auth_sessions.read_session(session).completed
        if kind in dict(before):
            return
        try:
            completed = [*before, (kind, proof)]
            auth_sessions.record_stages(session, completed, before=before, lifetime_s=lifetime_s)
        except ConditionFailed:
            continue
        return
    raise Unavailable("The session is in use by other requests; try again")


def _check(kind: str, standing: Standing, context: Context, auth: AuthFields) -> Outcome:
    if kind not in standing.following or kind not in STAGES:
        raise Forbidden(f"{kind[:80]} is not the next stage of a flow")
    return STAGES[kind](context, auth)


def _proved_user(completed: Sequence[Stage]) -> UserId | None:
    return next((UserId(str(proof["user_id"])) for _, proof in completed if "user_id" in proof), None)


def _challenge(standing: Standing, params: Mapping[str, JsonObject] | None) -> Challenge:
    challenge: Challenge = {
        "flows": [{"stages": list(flow)} for flow in standing.flows],
        "params": dict(params or {}),
        "session": standing.session,
    }
    if standing.completed or standing.failure is not None:
        challenge["completed"] = list(_types(standing.completed))
    return challenge


def _types(completed: Sequence[Stage]) -> Flow:
    return tuple(kind for kind, _ in completed)
