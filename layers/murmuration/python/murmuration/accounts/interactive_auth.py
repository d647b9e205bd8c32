"""User-interactive authentication: stages, flows, sessions.

https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api

A session is bound to what its request would do: its ID ends with a digest of method, path, requester and
body, and is refused for any other operation. So nothing is stored of it before a stage is completed.

A new kind of stage is a function in `STAGES`. One that is completed elsewhere (a link in a mail, a page of a
single sign-on) calls `complete_stage` from there; the client then sends the session alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from murmuration.protocol import canonical_json
from murmuration.protocol.errors import (
    BadJson,
    Forbidden,
    InvalidParam,
    MatrixError,
    Unavailable,
    UserInteractiveAuthRequired,
)
from murmuration.storage import auth_sessions
from murmuration.storage.auth_sessions import Stage
from murmuration.storage.dynamodb import ConditionFailed

PASSWORD = "m.login.password"  # noqa: S105 - a stage's type
DUMMY = "m.login.dummy"
REGISTRATION_TOKEN = "m.login.registration_token"  # noqa: S105 - a stage's type

Flow = tuple[str, ...]
"""The types of a flow's stages, in order."""

ATTEMPTS = 5
_SESSION = re.compile(r"[\w-]{24}\.[\w-]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request for an operation, with the proof (`auth`) that came with it, if any."""

    method: str
    path: str
    body: Mapping[str, Any]
    source_ip: str = ""

    @property
    def auth(self) -> Mapping[str, Any]:
        """The request's `auth`; empty where there's none. Raises BadJson."""
        auth = self.body.get("auth")
        if auth is None:
            return {}
        if not isinstance(auth, Mapping):
            raise BadJson("auth must be an object")
        for name in ("type", "session"):
            if not isinstance(auth.get(name, ""), str):
                raise BadJson(f"auth.{name} must be a string")
        return auth

    def digest(self, user_id: str | None, *, bind_body: bool) -> str:
        """What ends the ID of each session for this operation."""
        body = {name: value for name, value in self.body.items() if name != "auth"} if bind_body else {}
        operation = [self.method, self.path, user_id, body]
        digest = hashlib.sha256(canonical_json.encode(operation, strict=False)).digest()
        return urlsafe_b64encode(digest[:12]).decode()


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage may need to know: the session, and the user that has to prove to be there, if known."""

    session: str
    user_id: str | None


@dataclass(frozen=True, slots=True)
class Authorised:
    """All stages of a flow are done; `proofs` are what each proved, by type."""

    session: str
    proofs: Mapping[str, Mapping[str, Any]]


def _password(context: Context, auth: Mapping[str, Any]) -> Mapping[str, Any]:
    from murmuration.accounts.credentials import prove_by_password

    proof = prove_by_password(auth)
    if context.user_id not in (None, proof.user_id):
        raise Forbidden("Invalid username or password")
    return {"user_id": proof.user_id}


def _dummy(context: Context, auth: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG001 - asks for nothing
    return {}


def _registration_token(context: Context, auth: Mapping[str, Any]) -> Mapping[str, Any]:
    from murmuration.accounts.registration_tokens import claim

    return {"token": claim(auth.get("token"), context.session)}


STAGES: Mapping[str, Callable[[Context, Mapping[str, Any]], Mapping[str, Any]]] = MappingProxyType(
    {PASSWORD: _password, DUMMY: _dummy, REGISTRATION_TOKEN: _registration_token}
)
"""What checks a stage, by type: it returns what was proved, and raises Forbidden for what wasn't."""


def authorise(
    attempt: Attempt,
    flows: Sequence[Flow],
    *,
    user_id: str | None = None,
    bind_body: bool = True,
    repeatable: bool = True,
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> Authorised:
    """Require that the client completed one of `flows` for this very operation.

    `user_id` is who has to prove to be there; without it, the proofs tell. `bind_body=False` lets the body
    change between a session's requests. A `repeatable` operation may be asked for again with a session that
    is complete, its answer having been lost. `params` is what clients have to know for a stage, by type.
    Raises UserInteractiveAuthRequired while stages are missing (with the reason, if one failed), Forbidden
    for a session of another operation, and what a malformed stage raises.
    """
    auth = attempt.auth
    digest = attempt.digest(user_id, bind_body=bind_body)
    session = auth.get("session") or f"{secrets.token_urlsafe(18)}.{digest}"
    if not _SESSION.fullmatch(session):
        raise InvalidParam("The session is not one of this server's")
    if not hmac.compare_digest(session.rpartition(".")[2], digest):
        raise Forbidden("The session was begun for another operation")
    completed = list(auth_sessions.read_session(session).completed) if auth.get("session") else []
    failure = None
    kind = auth.get("type")
    if kind is not None and kind not in dict(completed):
        try:
            proof = _check(kind, completed, flows, Context(session, user_id), auth)
        except MatrixError as error:
            if error.status not in (401, 403):
                raise
            failure = error
        else:
            completed.append((kind, proof))
            if not _is_complete(completed, flows) or (repeatable and auth.get("session")):
                complete_stage(session, kind, proof)
    if _is_complete(completed, flows):
        return Authorised(session, dict(completed))
    raise UserInteractiveAuthRequired(_challenge(session, flows, completed, params), failure)


def complete_stage(session: str, kind: str, proof: Mapping[str, Any]) -> None:
    """Note that a stage was completed elsewhere than in the request that needs it. Idempotent."""
    for _ in range(ATTEMPTS):
        before = auth_sessions.read_session(session).completed
        if kind in dict(before):
            return
        try:
            auth_sessions.record_stages(session, [*before, (kind, proof)], before=before)
        except ConditionFailed:
            continue
        return
    raise Unavailable("The session is in use by other requests; try again")


def _check(
    kind: str, completed: Sequence[Stage], flows: Sequence[Flow], context: Context, auth: Mapping[str, Any]
) -> Mapping[str, Any]:
    done = _types(completed)
    following = {flow[len(done)] for flow in flows if flow[: len(done)] == done and len(flow) > len(done)}
    if kind not in following or kind not in STAGES:
        raise Forbidden(f"{kind[:80]} is not the next stage of a flow")
    return STAGES[kind](context, auth)


def _is_complete(completed: Sequence[Stage], flows: Sequence[Flow]) -> bool:
    return _types(completed) in flows


def _challenge(
    session: str,
    flows: Sequence[Flow],
    completed: Sequence[Stage],
    params: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    challenge: dict[str, Any] = {
        "flows": [{"stages": list(flow)} for flow in flows],
        "params": dict(params or {}),
        "session": session,
    }
    if completed:
        challenge["completed"] = list(_types(completed))
    return challenge


def _types(completed: Sequence[Stage]) -> Flow:
    return tuple(kind for kind, _ in completed)
