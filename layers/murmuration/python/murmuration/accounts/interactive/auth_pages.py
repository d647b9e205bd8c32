"""Pages on which a user completes a stage of user-interactive authentication that their client doesn't know.

https://spec.matrix.org/v1.19/client-server-api/#fallback
"""

from __future__ import annotations

from collections.abc import Mapping

from murmuration import pages
from murmuration.accounts.interactive.interactive_auth import (
    DUMMY,
    PASSWORD,
    REGISTRATION_TOKEN,
    SSO,
    STAGES,
    Begun,
    Context,
    complete_on_page,
    is_session,
)
from murmuration.accounts.sso import login as sso
from murmuration.identity import rate_limits
from murmuration.pages import Page, escape
from murmuration.protocol.errors import Forbidden, MissingParam, NotFound

_FORMS: Mapping[str, tuple[str, str]] = {
    PASSWORD: (
        "Confirm that it’s you",
        '<label>User name<input name="user" autocomplete="username" autocapitalize="none" required></label>'
        '<label>Password<input name="password" type="password" autocomplete="current-password" required>'
        "</label>",
    ),
    REGISTRATION_TOKEN: (
        "Registration token",
        "<label>The token that you were given, so that you may register"
        '<input name="token" autocomplete="off" autocapitalize="none" required></label>',
    ),
    DUMMY: ("Confirm", "<p>Nothing more is asked of you.</p>"),
}
"""Title and fields of the stages that a form completes."""


def get_page(
    kind: str, session: str | None, *, provider_id: str | None, cookies: str, source_ip: str
) -> Page:
    """Return the page of a stage. Raises MissingParam, NotFound, LimitExceeded, Unavailable."""
    session = _check_session(session)
    if kind == SSO:
        return sso.stage_page(session, provider_id=provider_id, cookies=cookies, source_ip=source_ip)
    return _form(kind)


def submit_page(kind: str, session: str | None, fields: Mapping[str, str], *, source_ip: str) -> Page:
    """Check the submitted form. Returns a page: that the stage is complete, or the form again with the error.

    Raises MissingParam, NotFound, LimitExceeded, and what a malformed stage raises.
    """
    session = _check_session(session)
    if kind not in _FORMS:
        raise NotFound("This stage has no form")
    if kind != PASSWORD:  # the check of passwords counts attempts itself
        rate_limits.check("login", source_ip)
    try:
        outcome = STAGES[kind](Context(session, None, source_ip), fields)
    except Forbidden as error:
        return _form(kind, problem=error.message)
    if not isinstance(outcome, Begun):
        complete_on_page(session, kind, outcome)
    return sso.done_page()


def _form(kind: str, problem: str = "") -> Page:
    if kind not in _FORMS:
        raise NotFound("There is no page for this stage")
    title, fields = _FORMS[kind]
    content = (
        f'<p role="alert">{escape(problem)}</p><form method="post">{fields}<button>Continue</button></form>'
    )
    return pages.page(title, content, status=403 if problem else 200)


def _check_session(session: str | None) -> str:
    if session is None:
        raise MissingParam("The query parameter session is missing")
    if not is_session(session):
        raise NotFound("There is no such session")
    return session
