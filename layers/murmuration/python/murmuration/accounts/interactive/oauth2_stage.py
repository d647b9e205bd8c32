"""The stage `m.login.oauth2`: the client learns to which page to send its user, and the session waits.

When the browser comes back with the code, the login continues in a new session that only this browser knows.
So it doesn't matter who began the login, and the user may follow the URI in any browser.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from murmuration import pages
from murmuration.accounts.interactive.interactive_auth import Begun, Context
from murmuration.accounts.sso import login as sso
from murmuration.accounts.sso.identity_providers import provider, providers
from murmuration.identity import rate_limits
from murmuration.pages import Page
from murmuration.protocol.encoding.shapes import AuthFields
from murmuration.protocol.errors import BadJson, Forbidden
from murmuration.settings import settings
from murmuration.storage.auth import login_states
from murmuration.storage.auth.login_states import LoginState

if TYPE_CHECKING:
    from murmuration.storage.auth.login_states import LoginPurpose

CHOICE = "/_matrix/client/api/v1/login/oauth2"
KEPT = ("operation", "device_id", "initial_device_display_name", "page")
"""The parameters of a request that concern the session that the login begins."""


def begin(context: Context, auth: AuthFields) -> Begun:
    """Return the URI to which the client sends its user: the provider's, or a page for choosing a provider.

    The request's `user` may name the user who must authenticate. Raises BadJson, Unavailable.
    """
    wanted = auth.get("user", context.user_id)
    if wanted is not None and not isinstance(wanted, str):
        raise BadJson("user must be a string")
    if not isinstance(auth.get("page", False), bool):
        raise BadJson("page must be a boolean")
    kept = {name: auth[name] for name in KEPT if name in auth}
    purpose = {"for": sso.LOGIN_STAGE, "session": context.session, "user": wanted, **kept}
    if len(providers()) == 1:
        return Begun({"uri": sso.request_uri(providers()[0], purpose)})
    choice = _new_choice(purpose)
    return Begun({"uri": f"{settings().public_url}{CHOICE}?{urlencode({'choice': choice})}"})


def choose(choice: str, *, provider_id: str | None, source_ip: str) -> Page:
    """Return a page for choosing a provider; with `provider_id`, a redirect to that provider.

    Raises Forbidden, NotFound, LimitExceeded, Unavailable.
    """
    rate_limits.check("sso", source_ip)
    pending = login_states.read(choice)
    if pending is None or pending.provider:
        raise Forbidden("This login took too long. Go back to where you began, and try again.")
    if provider_id is not None:
        return pages.redirection(sso.request_uri(provider(provider_id), pending.purpose))
    links = {each.id: f"?{urlencode({'choice': choice, 'provider': each.id})}" for each in providers()}
    return sso.choice_page(links)


def _new_choice(purpose: LoginPurpose) -> str:
    choice = secrets.token_urlsafe(32)
    login_states.create(choice, LoginState("", "", "", "", purpose))
    return choice
