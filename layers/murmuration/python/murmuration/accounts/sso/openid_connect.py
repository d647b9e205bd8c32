"""The client of an identity provider: builds the URI for the browser, and exchanges the code for the user's
identity.

It uses the authorisation code flow of OAuth 2.0 as a confidential client, with PKCE (RFC 7636), state and
nonce. ID tokens are checked according to
https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from murmuration import outbound
from murmuration.accounts.sso.identity_providers import IdentityProvider
from murmuration.clock import now_ms
from murmuration.outbound import OutboundError
from murmuration.protocol.addresses import is_web_url
from murmuration.protocol.errors import Forbidden, Unavailable
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Untrusted

LEEWAY_S = 60
"""How far the provider's clock may differ from ours."""
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Only signatures by public keys: `none` is no signature, and the key of a MAC would be the client secret."""


@dataclass(frozen=True, slots=True)
class Request:
    """An authorisation request, as it is stored until its answer comes."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def fresh(cls) -> Request:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as a provider describes them. Only the subject identifies them; the names are suggestions."""

    subject: str
    localpart: str | None
    display_name: str | None


def authorization_uri(
    provider: IdentityProvider, request: Request, redirect_uri: str, *, register: bool = False
) -> str:
    """Return the URI to which the user's browser goes. Raises Unavailable if the provider's endpoints can't
    be discovered.
    """
    metadata = _metadata(provider)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(request.verifier.encode()).digest()).rstrip(b"=")
    query = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(provider.scopes),
        "state": request.state,
        "code_challenge": challenge.decode(),
        "code_challenge_method": "S256",
    }
    if provider.issuer:
        query["nonce"] = request.nonce
    prompts = metadata.get("prompt_values_supported")
    if register and isinstance(prompts, list) and "create" in prompts:
        query["prompt"] = "create"
    uri = str(metadata["authorization_endpoint"])
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(query)}"


def identify(provider: IdentityProvider, request: Request, code: str, redirect_uri: str) -> Identity:
    """Exchange the provider's code for the user's identity. A code can be used once.

    Raises Forbidden for a bad code or a bad answer of the provider, Unavailable if the provider can't be
    reached.
    """
    metadata = _metadata(provider)
    tokens = _exchange(provider, metadata, request, code, redirect_uri)
    claims: Untrusted = {}
    if provider.issuer:
        claims = _verified_claims(provider, metadata, tokens.get("id_token"), request.nonce)
    wanted = (provider.localpart_claim, provider.display_name_claim)
    if not provider.issuer or any(name not in claims for name in wanted):
        claims = _with_userinfo(provider, metadata, claims, tokens.get("access_token"))
    subject = claims.get(provider.subject_claim)
    if isinstance(subject, int) and not isinstance(subject, bool):
        subject = str(subject)
    if not isinstance(subject, str) or not subject:
        raise Forbidden("The identity provider doesn't say who this is")
    localpart, display_name = (
        value if isinstance(value := claims.get(name), str) and value else None for name in wanted
    )
    return Identity(subject, localpart, display_name)


def check_issuer(provider: IdentityProvider, issuer: str | None) -> None:
    """Refuse an answer that another provider gave (RFC 9207). Raises Forbidden, Unavailable."""
    says_so = _metadata(provider).get("authorization_response_iss_parameter_supported") is True
    if provider.issuer and issuer != provider.issuer and (says_so or issuer is not None):
        raise Forbidden("The answer comes from another identity provider than was asked")


# -- The provider's endpoints ----------------------------------------------------------------------------


def _metadata(provider: IdentityProvider) -> Untrusted:
    given = {
        name: value
        for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
        if (value := getattr(provider, name))
    }
    if not provider.issuer or {"authorization_endpoint", "token_endpoint", "jwks_uri"} <= given.keys():
        return given
    return {**_discover(provider.issuer), **given}


@functools.lru_cache(maxsize=32)
def _discover(issuer: str) -> Untrusted:
    """Return the provider's metadata, cached by the warm process:
    https://openid.net/specs/openid-connect-discovery-1_0.html
    """
    found = _asked(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if found.get("issuer") != issuer:
        raise Unavailable("The identity provider names another issuer than the settings")
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        if not is_web_url(found.get(name)):
            raise Unavailable("The identity provider doesn't tell its endpoints")
    return found


def _asked(url: str, **headers: str) -> Untrusted:
    try:
        answer = outbound.get(url, headers=headers, private=settings().sso_private_providers)
        if answer.status != 200:
            raise OutboundError(f"status {answer.status}")
        return answer.json_object()
    except OutboundError as error:
        raise Unavailable("The identity provider can't be reached; try again") from error


def _exchange(
    provider: IdentityProvider, metadata: Untrusted, request: Request, code: str, redirect_uri: str
) -> Untrusted:
    from murmuration.aws.parameters import read_secret

    secret = read_secret(settings().parameter(f"identity-provider-{provider.id}"))
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": request.verifier,
        "client_id": provider.client_id,
    }
    headers = {}
    if provider.client_auth == "client_secret_post":
        form["client_secret"] = secret
    else:
        pair = f"{quote(provider.client_id, safe='')}:{quote(secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    try:
        answer = outbound.post_form(
            str(metadata["token_endpoint"]), form, headers=headers, private=settings().sso_private_providers
        )
        if answer.status >= 500:
            raise OutboundError(f"status {answer.status}")
        tokens = answer.json_object()
    except OutboundError as error:
        raise Unavailable("The identity provider can't be reached; try again") from error
    # Some providers of plain OAuth 2.0 report an error with status 200.
    if answer.status != 200 or "error" in tokens:
        raise Forbidden("The identity provider refused the code")
    return tokens


def _with_userinfo(
    provider: IdentityProvider, metadata: Untrusted, claims: Untrusted, access_token: object
) -> Untrusted:
    url = metadata.get("userinfo_endpoint")
    if not isinstance(url, str) or not isinstance(access_token, str):
        return claims
    found = _asked(url, Authorization=f"Bearer {access_token}")
    if provider.issuer and found.get("sub") != claims["sub"]:
        raise Forbidden("The identity provider tells of another user than it identified")
    return {**found, **claims}


# -- ID tokens -------------------------------------------------------------------------------------------


def _verified_claims(
    provider: IdentityProvider, metadata: Untrusted, id_token: object, nonce: str
) -> Untrusted:
    if not isinstance(id_token, str):
        raise Forbidden("The identity provider gave no ID token")
    claims = _signed_claims(id_token, str(metadata["jwks_uri"]))
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    now = now_ms() // 1000
    expires, issued = claims.get("exp"), claims.get("iat")
    good = (
        claims.get("iss") == provider.issuer
        and provider.client_id in audiences
        and (len(audiences) == 1 or claims.get("azp") == provider.client_id)
        and claims.get("azp", provider.client_id) == provider.client_id
        and isinstance(expires, int | float)
        and now < expires + LEEWAY_S
        and isinstance(issued, int | float)
        and issued - LEEWAY_S <= now
        and hmac.compare_digest(str(claims.get("nonce", "")), nonce)
        and isinstance(claims.get("sub"), str)
    )
    if not good:
        raise Forbidden("The identity provider's ID token is not for this login")
    return claims


def _signed_claims(id_token: str, jwks_uri: str) -> Untrusted:
    """Return the claims if a key of the provider signed them. If no cached key matches, the keys are fetched
    again.
    """
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    for attempt in range(2):
        if attempt:
            _keys.cache_clear()
        try:
            keys = KeySet.import_key_set(_keys(jwks_uri))  # type: ignore[arg-type]
            return dict(jwt.decode(id_token, keys, algorithms=ALGORITHMS).claims)
        except (JoseError, ValueError, KeyError) as error:
            failure = error
    raise Forbidden("The identity provider's ID token is not signed as it should be") from failure


@functools.lru_cache(maxsize=32)
def _keys(jwks_uri: str) -> Untrusted:
    return _asked(jwks_uri)
