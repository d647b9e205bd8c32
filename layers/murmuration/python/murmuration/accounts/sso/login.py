"""Single sign-on: the browser goes to an identity provider and comes back, and the user is logged in.

A stored state records the purpose of the login: a client at a redirect URL, a stage of user-interactive
authentication, or a stage of the founding draft's login. The first two are bound to the browser by a cookie,
so that nobody can be tricked into finishing a login that an attacker began.
https://spec.matrix.org/v1.19/client-server-api/#sso-client-loginauthentication
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus, urlencode

from murmuration import pages
from murmuration.accounts.interactive.interactive_auth import OAUTH2, SSO, complete_on_page, is_session
from murmuration.accounts.login_flows import login_flows
from murmuration.accounts.sso import accounts as sso_accounts
from murmuration.accounts.sso import openid_connect
from murmuration.accounts.sso.identity_providers import IdentityProvider, provider, providers
from murmuration.accounts.sso.openid_connect import Identity
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import hash_secret, new_secret
from murmuration.pages import Page, escape
from murmuration.protocol.addresses import WEB, Address, parse_address
from murmuration.protocol.errors import Forbidden, InvalidParam, MissingParam, NotFound
from murmuration.settings import settings
from murmuration.storage.auth import login_states, user_tokens
from murmuration.storage.auth.login_states import LIFETIME_S, LoginState

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId
    from murmuration.storage.auth.login_states import LoginPurpose

CLIENT, AUTH_STAGE, LOGIN_STAGE = "client", "auth stage", "login stage"
"""The purposes of a state."""
CALLBACK = "/_matrix/client/v3/login/sso/callback"
DIRECT_TOKEN_MS = 10_000
SHOWN_TOKEN_MS = 120_000
"""The lifetimes of a login token: if the browser takes it to the client at once, and if the user has to
follow a link first."""
LOGIN_TOKEN = "loginToken"  # noqa: S105 - a parameter's name
_COOKIE = re.compile(r"[\w-]{32}", re.ASCII)


# -- To the provider -------------------------------------------------------------------------------------


def redirect(
    redirect_url: str | None, *, provider_id: str | None, action: str | None, cookies: str, source_ip: str
) -> Page:
    """Redirect a browser to an identity provider, or show a page for choosing one if there are several.

    `cookies` is the request's header. Raises MissingParam, InvalidParam, NotFound, LimitExceeded,
    Unavailable. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3loginssoredirect
    """
    if redirect_url is None:
        raise MissingParam("The query parameter redirectUrl is missing")
    redirect_url = _address_of(redirect_url).url
    if action not in (None, "login", "register"):
        raise InvalidParam("action must be login or register")
    if (OAUTH2,) not in login_flows():
        raise NotFound("This server has no single sign-on")
    chosen = providers()[0] if provider_id is None and len(providers()) == 1 else None
    if provider_id is not None:
        chosen = provider(provider_id)
    if chosen is None:
        query = {"redirectUrl": redirect_url} | ({"action": action} if action else {})
        base = "/_matrix/client/v3/login/sso/redirect/"
        return choice_page({each.id: f"{base}{quote(each.id)}?{urlencode(query)}" for each in providers()})
    purpose = {"for": CLIENT, "redirect_url": redirect_url}
    return start(chosen, purpose, cookies=cookies, source_ip=source_ip, register=action == "register")


def start(
    chosen: IdentityProvider,
    purpose: LoginPurpose,
    *,
    cookies: str,
    source_ip: str,
    register: bool = False,
) -> Page:
    """Send the browser to a provider; only this browser can finish. Raises LimitExceeded, Unavailable."""
    rate_limits.check("sso", source_ip)
    secret = _cookie_in(cookies) or secrets.token_urlsafe(24)
    uri = request_uri(chosen, purpose, binding=_binding(secret), register=register)
    secure = "; Secure" if settings().public_url.startswith("https:") else ""
    cookie = f"{_cookie_name()}={secret}; Path=/; Max-Age={LIFETIME_S}; HttpOnly; SameSite=Lax{secure}"
    return pages.redirection(uri, cookie=cookie)


def request_uri(
    chosen: IdentityProvider, purpose: LoginPurpose, *, binding: str = "", register: bool = False
) -> str:
    """Return the URI of a new authorisation request. Without a `binding`, any browser may follow it. Raises
    Unavailable.
    """
    request = openid_connect.Request.fresh()
    uri = openid_connect.authorization_uri(chosen, request, callback_url(), register=register)
    login_states.create(
        request.state, LoginState(chosen.id, request.nonce, request.verifier, binding, purpose)
    )
    return uri


def choice_page(links: Mapping[str, str]) -> Page:
    """Return a page for choosing one of the identity providers; `links` has their URIs by ID."""
    items = "".join(
        f'<li><a class="button" href="{escape(links[each.id])}">Continue with {escape(each.name)}</a></li>'
        for each in providers()
        if each.id in links
    )
    words = f"<p>Choose the account with which you log in at {escape(settings().server_name)}.</p>"
    return pages.page("Log in", f'{words}<ul class="choices">{items}</ul>')


def callback_url() -> str:
    """Return the redirect URI that this deployment's providers have to know."""
    return settings().public_url + CALLBACK


# -- And back --------------------------------------------------------------------------------------------


def finish(pending: LoginState | None, query: Mapping[str, str], cookies: str) -> Page:
    """Finish the login that `pending` began, and return a page.

    Raises Forbidden for a state that is unknown or was used before, and UserDeactivated, Unavailable.
    """
    if pending is None:
        raise Forbidden(
            "This login is finished, or took too long. Go back to where you began, and try again."
        )
    chosen, identity = identify(pending, query, cookies)
    if pending.purpose["for"] == AUTH_STAGE:
        return _finish_stage(str(pending.purpose["session"]), chosen, identity)
    user_id = sso_accounts.owner_or_new(chosen, identity)
    return _hand_over(user_id, str(pending.purpose["redirect_url"]))


def identify(
    pending: LoginState, query: Mapping[str, str], cookies: str
) -> tuple[IdentityProvider, Identity]:
    """Return the provider, and the user whom it authenticated. Raises Forbidden, NotFound, Unavailable."""
    if pending.binding and not hmac.compare_digest(pending.binding, _binding(_cookie_in(cookies) or "")):
        raise Forbidden("This login was begun in another browser, or cookies are blocked.")
    chosen = provider(pending.provider)
    openid_connect.check_issuer(chosen, query.get("iss"))
    if "error" in query:
        raise Forbidden(f"{chosen.name} didn’t let you in.")
    if not query.get("code"):
        raise Forbidden(f"{chosen.name} sent you back without an answer.")
    request = openid_connect.Request(query["state"], pending.nonce, pending.verifier)
    return chosen, openid_connect.identify(chosen, request, query["code"], callback_url())


def _hand_over(user_id: UserId, redirect_url: str) -> Page:
    """Give the client a login token: at once if the client is trusted, else by a link that the user has to
    follow.
    """
    address = _address_of(redirect_url)
    trusted = _is_trusted(address.url)
    token, lifetime = new_secret(), DIRECT_TOKEN_MS if trusted else SHOWN_TOKEN_MS
    user_tokens.create(user_tokens.LOGIN, hash_secret(token), user_id, expires_ms=now_ms() + lifetime)
    target = with_login_token(address.url, token)
    if trusted:
        return pages.redirection(target)
    shown = address.shown
    # The scheme of an application may look like a client's host: `app.example.org:`.
    who = "A client at" if address.scheme in WEB else "An application on this device that opens links with"
    content = (
        f'<p>{who} <strong class="url">{escape(shown)}</strong> asks for access to your account '
        f"<strong>{escape(user_id)}</strong>: to read and send your messages, and to change your "
        "settings.</p>"
        "<p>Go on only if you know it, and have just begun to log in there.</p>"
        f'<p class="choices"><a class="button" href="{escape(target)}">Continue to {escape(shown)}</a></p>'
    )
    return pages.page("Is this your client?", content)


def with_login_token(redirect_url: str, token: str) -> str:
    """Return `redirect_url` with `loginToken` in its query, in place of any that it has. The rest is
    unchanged.
    """
    base, hash_sign, fragment = redirect_url.partition("#")
    path, _, query = base.partition("?")
    pairs = [
        pair for pair in query.split("&") if pair and unquote_plus(pair.partition("=")[0]) != LOGIN_TOKEN
    ]
    return f"{path}?{'&'.join([*pairs, urlencode({LOGIN_TOKEN: token})])}{hash_sign}{fragment}"


def _is_trusted(redirect_url: str) -> bool:
    """Return whether a URL begins with a trusted client's URL. The host must match as a whole: `https://a.b`
    doesn't match `https://a.bc`.
    """
    return any(
        redirect_url == url
        or redirect_url.startswith((url if url.endswith("/") else f"{url}/", f"{url}?", f"{url}#"))
        for url in settings().sso_trusted_clients
    )


def _address_of(redirect_url: str) -> Address:
    """Return the address of a client. Raises InvalidParam for a URL that is invalid or misleading."""
    try:
        return parse_address(redirect_url)
    except ValueError as error:
        raise InvalidParam(f"redirectUrl must be the URL of a client: {error}") from error


# -- A stage of user-interactive authentication ----------------------------------------------------------


def stage_page(session: str, *, provider_id: str | None, cookies: str, source_ip: str) -> Page:
    """Return a page that asks the user whether they began this; with a `provider_id`, redirect to the
    provider.

    Raises NotFound, Forbidden, LimitExceeded, Unavailable.
    """
    if not providers() or not is_session(session):
        raise NotFound("There is no such session")
    if provider_id is not None:
        purpose = {"for": AUTH_STAGE, "session": session}
        return start(provider(provider_id), purpose, cookies=cookies, source_ip=source_ip)
    items = "".join(
        f'<li><a class="button" href="?{escape(urlencode({"session": session, "provider": each.id}))}">'
        f"Confirm with {escape(each.name)}</a></li>"
        for each in providers()
    )
    words = (
        "<p>A client that is logged in to your account wants to change something that needs your consent, "
        "such as removing a device. To confirm that it’s you who asks, log in again.</p>"
        "<p>If you don’t expect this, close this page: somebody else may have got into your account.</p>"
    )
    return pages.page("Confirm that it’s you", f'{words}<ul class="choices">{items}</ul>')


def _finish_stage(session: str, chosen: IdentityProvider, identity: Identity) -> Page:
    user_id = sso_accounts.owner_of(chosen, identity)
    if user_id is None:
        raise Forbidden(f"Nobody here has this account of {chosen.name}.")
    complete_on_page(session, SSO, {"user_id": user_id})
    return done_page()


def done_page() -> Page:
    """Return the page that tells the client that a stage is complete, in the specification's form."""
    words = '<p role="status">This is confirmed. You can close this page and go back to your client.</p>'
    return pages.page("Thank you", words, script="auth_done.js")


# -- The cookie ------------------------------------------------------------------------------------------


def _cookie_name() -> str:
    """Return the cookie's name. With TLS it has a prefix by which neither another host nor plain HTTP can set
    it.
    """
    return "__Host-murmuration-login" if settings().public_url.startswith("https:") else "murmuration-login"


def _cookie_in(header: str) -> str | None:
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == _cookie_name() and _COOKIE.fullmatch(value):
            return value
    return None


def _binding(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest() if secret else ""
